/*
 * engine - the contract of matrix engines; engine_<engine>.cl comes next, then engine_move.cl.
 *
 * An engine multiplies small matrices whose elements are spread over the lanes of a
 * sub-group (a wave: ENGINE_LANES neighbouring work-items that run together).  Both products
 * of attention have one form,
 *
 *     acc[query][other] += sum over depth of left[query][depth] * right[other][depth]
 *
 *     S = Q K^T     left Q, right K:      other is a key, depth an element of the head
 *     O += P V      left P, right V^T:    other is a column of V, depth a key
 *
 * An engine may hold queries as rows of its instruction's result (NVIDIA) or as columns
 * (AMD, Intel: then left is the instruction's B and right its A); nobody else sees that.
 * One multiplication: ENGINE_QUERIES x ENGINE_OTHERS, depth 16; ENGINE_SPLIT of them make 16
 * others.
 *
 * What engine_<engine>.cl gives:
 *     ENGINE_LANES, ENGINE_QUERIES, ENGINE_OTHERS (8 or 16)
 *     ENGINE_LEFT, ENGINE_RIGHT  elements of an operand in each lane (even: pairs in a uint)
 *     ENGINE_ACC               floats of an acc fragment in each lane
 *     ENGINE_SLOTS             queries that a lane's floats belong to, engine_acc_slot(e) of them
 *     ENGINE_SHARE             lanes that differ in these bits of their number share queries
 *     ENGINE_COPIES            0, or: lanes that differ in this bit hold the same operands
 *     ENGINE_ATTRIBUTES        of the kernel
 *     ENGINE_HALVES            1 where the compiler stops unrolling long loops, which leaves their
 *                              arrays in memory: those over columns then come in two halves
 *     engine_left_query, engine_left_depth, engine_right_other, engine_right_depth,
 *     engine_acc_query, engine_acc_other (lane, e)
 *                              which element of the matrix is element e of that lane; the order
 *                              of depths is free, as long as left and right agree
 *     engine_weights           one left operand, of 16 keys, from the ENGINE_SPLIT fragments of
 *                              weights that its lanes hold
 * and, unless EMULATED:
 *     engine_pack              two floats to two elements in a uint, rounded to nearest even
 *     engine_exchange          the float of the lane whose number differs in those bits
 *     engine_multiply          the engine's instruction
 * It may give, and then says so by a macro, its own way to load fragments from local memory and
 * to copy to it: ENGINE_FAST_LEFT, ENGINE_FAST_ROWS, ENGINE_FAST_COLUMNS, ENGINE_FAST_COPY.  What
 * stands in engine_move.cl goes element by element, by the coordinates.  And ENGINE_SETTLE(x): the
 * float x of an acc is to be there by now, whatever the compiler would move.
 *
 * EMULATED=1, for tests on any device: engine_multiply goes through local memory by
 * emulated_{left,right,acc}_{lane,element}, the vendor's map from an element of the matrix to its
 * place.  It is the inverse of the engine's maps and written apart from them, so that a
 * mistake in either gives wrong results.  All lanes have to call it together.
 */
#ifndef ENGINE
#error "ENGINE: the matrix engine, whose part engine_<engine>.cl is"
#endif
#ifndef EMULATED
#error "EMULATED: 1 replaces the engine's instructions by local memory, for tests; else 0"
#endif
#ifndef FAST_LOADS
#error "FAST_LOADS: 1 loads and copies in the engine's own way where it has one; 0 by coordinates"
#endif

#ifndef TYPE_K
#error "TYPE_K: storage of k: F32, F16 or BF16; here that of q, v and o, too"
#endif
#ifndef WAVES
#error "WAVES: waves per work-group"
#endif
#define THREADS (WAVES * ENGINE_LANES)

/* Engines multiply elements of one type: q, k, v and o have that of k. */
#define TYPE TYPE_K
typedef element_k element;

/* Fragments of 16 keys or columns. */
#define ENGINE_SPLIT (16 / ENGINE_OTHERS)

/* A wave, seen from one of its lanes. */
struct engine_wave {
    int lane;
    __local float *scratch; /* of this wave; only emulation uses it */
};

#if EMULATED
/* Loops around barriers stay loops, or no compiler for CPUs would come to an end. */
#define ENGINE_UNROLL

INLINE uint engine_pack(float low, float high) {
    return narrow(low, TYPE) | (uint)narrow(high, TYPE) << 16;
}

INLINE float engine_exchange(float x, const int bits, struct engine_wave w) {
    w.scratch[w.lane] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    const float other = w.scratch[w.lane ^ bits];
    barrier(CLK_LOCAL_MEM_FENCE);
    return other;
}
#else
#define ENGINE_UNROLL UNROLL
#endif
