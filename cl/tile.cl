/*
 * tile - the contract of matrix engines; tile_<engine>.cl comes next, then tile_move.cl.
 *
 * An engine multiplies small matrices whose elements are spread over the lanes of a
 * sub-group (a wave: TILE_LANES neighbouring work-items that run together).  Both products
 * of attention have one form,
 *
 *     acc[query][other] += sum over depth of left[query][depth] * right[other][depth]
 *
 *     S = Q K^T     left Q, right K:      other is a key, depth an element of the head
 *     O += P V      left P, right V^T:    other is a column of V, depth a key
 *
 * An engine may hold queries as rows of its instruction's result (NVIDIA) or as columns
 * (AMD, Intel: then left is the instruction's B and right its A); nobody else sees that.
 * One multiplication: TILE_QUERIES x TILE_OTHERS, depth 16; TILE_SPLIT of them make 16 others.
 *
 * What tile_<engine>.cl gives:
 *     TILE_LANES, TILE_QUERIES, TILE_OTHERS (8 or 16)
 *     TILE_LEFT, TILE_RIGHT  elements of an operand in each lane (even: pairs in a uint)
 *     TILE_ACC               floats of an acc fragment in each lane
 *     TILE_SLOTS             queries that a lane's floats belong to, tile_acc_slot(e) of them
 *     TILE_SHARE             lanes that differ in these bits of their number share queries
 *     TILE_COPIES            0, or: lanes that differ in this bit hold the same operands
 *     TILE_ATTRIBUTES        of the kernel
 *     TILE_HALVES            1 where the compiler stops unrolling long loops, which leaves their
 *                            arrays in memory: those over columns then come in two halves
 *     tile_left_query, tile_left_depth, tile_right_other, tile_right_depth, tile_acc_query,
 *     tile_acc_other (lane, e)
 *                            which element of the matrix is element e of that lane; the order
 *                            of depths is free, as long as left and right agree
 *     tile_weights           one left operand, of 16 keys, from the TILE_SPLIT fragments of
 *                            weights that its lanes hold
 * and, unless EMULATED:
 *     tile_pack              two floats to two elements in a uint, rounded to nearest even
 *     tile_exchange          the float of the lane whose number differs in those bits
 *     tile_multiply          the engine's instruction
 * It may give, and then says so by a macro, its own way to load fragments from local memory and
 * to copy to it: TILE_FAST_LEFT, TILE_FAST_ROWS, TILE_FAST_COLUMNS, TILE_FAST_COPY.  What stands
 * in tile_move.cl goes element by element, by the coordinates.  And TILE_SETTLE(x): the float x
 * of an acc is to be there by now, whatever the compiler would move.
 *
 * EMULATED=1, for tests on any device: tile_multiply goes through local memory by
 * emulated_{left,right,acc}_{lane,element}, the vendor's map from an element of the matrix to its
 * place.  It is the inverse of the engine's maps and written apart from them, so that a
 * mistake in either gives wrong results.  All lanes have to call it together.
 */
#ifndef ENGINE
#error "ENGINE: the matrix engine, whose part tile_<engine>.cl is"
#endif
#ifndef EMULATED
#error "EMULATED: 1 replaces the engine's instructions by local memory, for tests; else 0"
#endif
#ifndef FAST_LOADS
#error "FAST_LOADS: 1 loads and copies in the engine's own way where it has one; 0 by coordinates"
#endif

#ifndef WAVES
#error "WAVES: waves per work-group"
#endif
#define THREADS (WAVES * TILE_LANES)

/* Fragments of 16 keys or columns. */
#define TILE_SPLIT (16 / TILE_OTHERS)

/* A wave, seen from one of its lanes. */
struct tile_wave {
    int lane;
    __local float *scratch; /* of this wave; only emulation uses it */
};

#if EMULATED
/* Loops around barriers stay loops, or no compiler for CPUs would come to an end. */
#define TILE_UNROLL

INLINE uint tile_pack(float low, float high) {
    return narrow(low) | (uint)narrow(high) << 16;
}

INLINE float tile_exchange(float x, const int bits, struct tile_wave w) {
    w.scratch[w.lane] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    const float other = w.scratch[w.lane ^ bits];
    barrier(CLK_LOCAL_MEM_FENCE);
    return other;
}
#else
#define TILE_UNROLL UNROLL
#endif
