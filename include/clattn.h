/*
 * clattn - attention on any OpenCL device.
 *
 *     o = softmax(mask(softcap(scale * q k^T))) v        exactly, in O(S) memory
 *
 * The application owns the OpenCL context, queue, buffers and events; clattn
 * owns programs and kernels.  The way through this header:
 *
 *     clattn_context_create    once for a (cl_context, cl_device_id)
 *     clattn_plan_create       once for a problem: checks, chooses, compiles
 *                              (or clattn_plan_find, as often as you like)
 *     clattn_enqueue_forward   many times: never blocks, allocates no device memory
 *     clattn_enqueue_backward  likewise, with a plan whose pass is CLATTN_BACKWARD
 *     clattn_plan_destroy, clattn_context_destroy
 *
 * Every struct is set by its CLATTN_*_INIT macro, begins with its own size, and
 * grows only by appending members whose default is 0.  A program that was compiled with
 * another header of this major version works: members that its struct lacks have their
 * defaults, and members that the library does not know must be 0.  Every function that can
 * fail returns CL_SUCCESS, one of OpenCL's own codes unchanged, or one of
 * CLATTN_*; where there is a context, the sentence that explains it goes to its
 * notify callback.  Nothing is ever printed.  The environment variable
 * CLATTN_DUMP names a directory that composed programs are written to, CLATTN_LOG a file to
 * which the text of each problem is appended when the process first makes a plan for it; what
 * cannot be written is remarked to notify.  CLATTN_TUNING names a tuning file.
 *
 * Threads: any function from any thread, the same plan included, except that
 * nothing may run beside the destruction of what it uses.
 */
#ifndef CLATTN_H
#define CLATTN_H

#include <stddef.h>

#ifdef __APPLE__
#include <OpenCL/opencl.h>
#else
#include <CL/cl.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define CLATTN_VERSION_MAJOR 0
#define CLATTN_VERSION_MINOR 1
#define CLATTN_VERSION_PATCH 0

/* As one number, which compares: 102 is 0.1.2. */
#define CLATTN_VERSION \
    (CLATTN_VERSION_MAJOR * 10000 + CLATTN_VERSION_MINOR * 100 + CLATTN_VERSION_PATCH)

#if defined(_WIN32) && defined(CLATTN_SHARED)
#ifdef CLATTN_BUILDING
#define CLATTN_API __declspec(dllexport)
#else
#define CLATTN_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define CLATTN_API __attribute__((visibility("default")))
#else
#define CLATTN_API
#endif

/* The CLATTN_VERSION that the running library was compiled with.  The macro is the version of the
 * header that the program was compiled with. */
CLATTN_API cl_uint clattn_version(void);

/* ---- Status ------------------------------------------------------------ */

/* Codes of our own, outside the ranges of OpenCL and its known extensions. */
#define CLATTN_INVALID_DESC (-9001)      /* a field of a *_desc is not sensible */
#define CLATTN_INVALID_ARGS (-9002)      /* a field of *_args is not sensible */
#define CLATTN_INVALID_TENSOR (-9003)    /* a tensor's memory, offset or strides */
#define CLATTN_OUT_OF_BOUNDS (-9004)     /* a tensor ends after its buffer does */
#define CLATTN_OVERLAP (-9005)           /* an output shares bytes with another tensor or itself */
#define CLATTN_INVALID_WORKSPACE (-9006) /* missing, too small, misaligned or not writable */
#define CLATTN_INVALID_VARIANT (-9007)   /* a variant's text is malformed, or illegal here */
#define CLATTN_INVALID_TUNING (-9008)    /* the tuning file of tuning_path cannot be read */
#define CLATTN_INVALID_TEXT (-9009)      /* a problem text is malformed */
#define CLATTN_UNSUPPORTED (-9010)       /* sensible, but not offered (on this device) */
#define CLATTN_INTERNAL (-9011)          /* a defect in clattn: please report the sentence */

/* The name of a status, ours or OpenCL's: "CLATTN_OVERLAP", "CL_INVALID_CONTEXT".
 * "unknown status" for any other number.  Never NULL, never to be freed. */
CLATTN_API const char *clattn_status_name(cl_int status);

/* ---- Context ------------------------------------------------------------ */

typedef struct clattn_context_s *clattn_context;

/* Receives a message for every call that fails, before that call returns, on its thread: calls on
 * several threads may notify at the same time.  The message is one sentence.  Behind it, on lines
 * of their own, a failed build has its log and a line map, and a plan that cannot be made has
 * what clattn_plan_describe would say of it.
 * status is what the call is about to return, or CL_SUCCESS for a remark: the
 * call goes on, but not as well as it might (a solver that had to be passed
 * over).  Do not call clattn from inside. */
typedef void(CL_CALLBACK *clattn_notify)(cl_int status, const char *message, void *user_data);

typedef struct clattn_context_desc {
    size_t size;
    cl_context context;      /* retained */
    cl_device_id device;     /* one of the context's devices, or a sub-device for which the
                                driver makes a queue in the context; retained */
    clattn_notify notify;    /* may be NULL */
    void *user_data;         /* passed to notify */
    const char *tuning_path; /* a tuning file; NULL: none beside the user's; "": no file at all */
} clattn_context_desc;

#define CLATTN_CONTEXT_DESC_INIT \
    { sizeof(clattn_context_desc), NULL, NULL, NULL, NULL, NULL }

/* Reads the tuning files, lines that say which variant is fast where (README, "Choosing and
 * tuning"): tuning_path; the file that the environment variable CLATTN_TUNING names; and
 * $XDG_CONFIG_HOME/clattn/tuning.txt or ~/.config/clattn/tuning.txt (Windows:
 * %APPDATA%/clattn/tuning.txt).  A line of an earlier file goes before all lines of later ones.  A
 * file is a text of at most 4 MiB.  If tuning_path cannot be read, the result is
 * CLATTN_INVALID_TUNING; if another one cannot, notify gets a remark, but not where the last one is
 * missing.  A malformed line costs a remark with file and number, and is not used.
 *
 * Reads the device's facts.  On NVIDIA it also builds and runs a small kernel
 * on a queue of its own, to learn how much local memory there really is; where there
 * may be a matrix engine (NVIDIA, AMD, Intel) it builds a few lines that use it.
 * *result is NULL on failure. */
CLATTN_API cl_int clattn_context_create(const clattn_context_desc *desc, clattn_context *result);

/* Accepts NULL.  A plan keeps what it needs: the order of destruction is free. */
CLATTN_API void clattn_context_destroy(clattn_context context);

/* Writes to text the facts of the device that clattn uses, one "name value" a line.  text has
 * capacity bytes; it may be NULL where capacity is 0.  *needed, if needed is not NULL, becomes the
 * bytes of the whole description, with the final NUL.  A description that does not fit is cut, ends
 * in NUL, and the call still succeeds. */
CLATTN_API cl_int clattn_context_describe(clattn_context context, char *text, size_t capacity,
                                          size_t *needed);

/* ---- Problem ------------------------------------------------------------ */

/* Storage of a tensor's elements.  Sums are always in 32-bit floating point. */
typedef cl_uint clattn_type;
#define CLATTN_F32 1u
#define CLATTN_F16 2u  /* IEEE binary16; cl_khr_fp16 is not needed */
#define CLATTN_BF16 3u /* the upper half of a binary32 */

/* Of k and v alone, in the forward pass: quantised, in ggml's blocks of 32 elements.  A block is a
 * scale in F16 and 32 integers; an element is scale * integer.  Q8_0: 34 bytes, the integers are
 * int8_t.  Q4_0: 18 bytes, the integers are 0 ... 15 less 8; of the 16 bytes behind the scale, byte
 * j has element j in its lower and element j + 16 in its upper half.  Strides still count elements
 * and are multiples of 32; offsets are multiples of 2 bytes; the tensor's head dimension is a
 * multiple of 32 (else CLATTN_UNSUPPORTED). */
#define CLATTN_Q8_0 4u
#define CLATTN_Q4_0 5u

/* Where the band's diagonal lies when seq_q and seq_kv differ.  Query i stands
 * opposite key i + seq_kv - seq_q (END: the last query sees the last key) or
 * opposite key i (START). */
typedef cl_uint clattn_align;
#define CLATTN_ALIGN_END 0u
#define CLATTN_ALIGN_START 1u

#define CLATTN_UNBOUNDED (-1)

/* Promises, bits of clattn_desc.promises: what the caller says of the tensors of every enqueue.  A
 * promise changes no result.  An enqueue that breaks one is refused (CLATTN_INVALID_TENSOR).
 *
 * ALIGNED is about q, k, v and o, but not about those in Q8_0 or Q4_0.  Their offsets are multiples
 * of 16 bytes (in SVM: the address plus the offset; in a buffer of CL_MEM_USE_HOST_PTR its host
 * memory, too).  Where a call has several batches, heads or rows, the stride between them is a
 * multiple of 16 bytes, not 0, and below 2^40 bytes.  lse, the tensors of clattn_extras and tensors
 * without elements may lie anywhere.  The plan then compiles no second variant for other strides
 * (clattn_plan_variant). */
#define CLATTN_PROMISE_ALIGNED ((cl_ulong)1 << 0)

/* What a plan computes: attention's output, or the gradients of q, k and v. */
typedef cl_uint clattn_pass;
#define CLATTN_FORWARD 0u
#define CLATTN_BACKWARD 1u
#define CLATTN_MERGE 2u /* joins two results of disjoint keys: clattn_enqueue_merge */

/* Features, bits of clattn_desc.features.  Each brings tensors in clattn_extras.
 *
 * ALIBI: attention with linear biases, which depend on positions (Press, Smith, Lewis, 2021). After
 * scale and softcap, the score of query i, opposite key c (see clattn_align), and key j, in head h
 * of batch b becomes
 *
 *     s - alibi[b, h] * |j - c|
 *
 * The paper's slopes, for H heads, H a power of two: alibi[h] = 2^(-8 (h + 1) / H).  ggml's, with
 * max_bias and n, the largest power of two that is at most H: alibi[h] = 2^(-max_bias (h + 1) / n)
 * for h < n, and 2^(-max_bias (2 (h - n) + 1) / (2 n)) for h >= n.  ggml's mask of -|j - c| and
 * -inf is then not needed: the band hides keys.  The paper's slopes for other H are those of ggml
 * with max_bias 8. */
#define CLATTN_FEATURE_ALIBI ((cl_ulong)1 << 0)

/* BIAS: a number for each pair of a query and a key, added to its score after scale and softcap,
 * before ALiBi.  -inf hides the key from the query.  Any other number does not, the lowest of its
 * type included; F32 and BF16 below -2.3e38 count as -2.3e38 (a score is kept times log2(e)).
 *
 * MASK: a byte for each such pair.  0 hides the key from the query, any other value does not.
 *
 * A hidden key matters to the query in no way: its k, v, bias and mask may hold anything, NaN
 * included.  A query from which the band, mask and bias hide all keys sees none: o = 0, lse = -inf.
 * In a backward pass this is so where all queries are kept from the key; a NaN that somebody sees
 * may stay away from gradients.  Solvers for Hopper's matrix unit (fwd_wgmma), bwd_mma and the
 * baselines have neither. */
#define CLATTN_FEATURE_BIAS ((cl_ulong)1 << 1)
#define CLATTN_FEATURE_MASK ((cl_ulong)1 << 2)

/* SINK: attention sinks, a score sink[b, h] for each query head, which belongs to no key.  It takes
 * part in the sum that weights are divided by, and in lse, and is as it is: neither scaled nor
 * capped, and no band, bias or mask hides it.  A query that sees no key has o = 0 and lse = sink.
 * -inf: the head has no sink.  fwd_wgmma and the baselines do not offer it. */
#define CLATTN_FEATURE_SINK ((cl_ulong)1 << 3)

/* LENGTHS: a number of keys for each sequence of the batch, lengths_kv[b], which kernels read: the
 * host need not know the lengths.  A number below 0 counts as 0, one above the seq_kv of the
 * enqueue as that seq_kv.  Keys from the length on are hidden from all queries.  With
 * CLATTN_ALIGN_END the last query stands opposite the sequence's own last key.  Backward, fwd_mma,
 * fwd_wgmma and the baselines do not offer it. */
#define CLATTN_FEATURE_LENGTHS ((cl_ulong)1 << 4)

/* What is to be computed, as far as it decides compiled code or workspace.
 *
 *     q [batch, heads_q,  seq_q,  head_dim]      o   [batch, heads_q, seq_q, head_dim_v]
 *     k [batch, heads_kv, seq_kv, head_dim]      lse [batch, heads_q, seq_q]  (optional)
 *     v [batch, heads_kv, seq_kv, head_dim_v]
 *
 * Query head h reads key head h / (heads_q / heads_kv).  Query i, opposite key c
 * (see clattn_align), sees keys c - band_left ... c + band_right.  A query that
 * sees no key gets o = 0 and lse = -inf.
 *
 * Every legal query row gets the right result.  Legal: all its numbers are finite, and
 *
 *     for each key that the row sees, sum over d of |q_d k_d| < FLT_MAX (3.4e38),
 *         and |scale| log2(e) times that sum < FLT_MAX;
 *         with ALiBi, log2(e) (|scale| times that sum + |alibi| times the distance) < FLT_MAX, for
 *         slopes of either sign; likewise with a bias, |bias| added, but for low ones (above);
 *     v is any number in f16; in bf16 and f32 max|v| times the keys seen < FLT_MAX;
 *     the row sees at most 2^20 keys.
 *
 * Sums over keys add at most 4e-5 max|v| to the error of o, at 2^20 keys; their part grows
 * with the square root of the number of keys.  With larger numbers a row stands out: where one of
 * its scores overflows to +inf, or all of them to -inf, its o and lse are NaN or Inf (with a bias
 * or a mask, 0 and -inf in the latter case).  No row ever depends on what others hold. Subnormal
 * numbers of f32 (below 1.2e-38) may count as 0, whether given or on the way.
 *
 * q, k, v and o may differ in type, for example q and o in f32 beside k and v in f16.  Then only
 * o is rounded, to its type; a value of o beyond the type's range becomes infinite.
 *
 * With pass = CLATTN_BACKWARD the plan computes gradients (clattn_enqueue_backward): d_q, d_k and
 * d_v, shaped as q, k and v, from q, k, v, o, lse and d_o.  Nothing of size seq_q * seq_kv is
 * stored, and results are the same to the bit in every run.  A key head that several query heads
 * read gets the sum of their gradients.  Queries that see no key, and keys that no query sees, get
 * gradients of 0.  Gradients are right where the forward pass's conditions hold and |s| <= 2^16 for
 * every score s: beyond, lse in F32 is too coarse, and gradients are only finite.  Queries that see
 * no key, and keys that no query sees, never change other gradients, whatever they hold.  A NaN in
 * any other row may reach all gradients of its head and of the heads that share keys with it.
 *
 * batch, seq_q and seq_kv are upper bounds: an enqueue may ask for less. */
typedef struct clattn_desc {
    size_t size;
    clattn_type type;      /* of q; default CLATTN_F32 */
    cl_uint batch;         /* default 1; batch * heads_q at most 2^30 - 1 */
    cl_uint heads_q;       /* default 1; a multiple of heads_kv */
    cl_uint heads_kv;      /* default 0: as heads_q */
    cl_uint seq_q;         /* default 0: nothing to do; at most 2^30 - 1 */
    cl_uint seq_kv;        /* default 0: no keys, o = 0; at most 2^30 - 1 */
    cl_uint head_dim;      /* 1 ... 512 */
    cl_uint head_dim_v;    /* default 0: as head_dim; 1 ... 512 */
    cl_int band_left;      /* keys seen to the left of the opposite one; default CLATTN_UNBOUNDED */
    cl_int band_right;     /* and to the right of it; causal is 0; default CLATTN_UNBOUNDED */
    clattn_align align;    /* default CLATTN_ALIGN_END */
    float softcap;         /* s becomes softcap * tanh(s / softcap); default 0: none */
    const char *variant;   /* default NULL: clattn chooses.  Else a solver and its parameters,
                          "fwd_tile BLOCK_M=64 BLOCK_N=32"; a bare solver name, or a variant that
                          leaves parameters out, gets the best legal ones (notify hears of it where
                          clattn would never choose a variant with what is given).  Copied. */
    cl_ulong features;     /* bits CLATTN_FEATURE_*; default 0 */
    cl_ulong promises;     /* bits CLATTN_PROMISE_*; default 0: none */
    clattn_type type_k;    /* default 0: as type.  Solvers for matrix engines (fwd_mma, fwd_wgmma)
                          answer where q, k, v and o have one type, all others any types.  Q8_0 and
                          Q4_0: not "standard" */
    clattn_type type_v;    /* default 0: as type_k */
    clattn_type type_o;    /* default 0: as type */
    clattn_type type_d;    /* of d_q, d_k and d_v; default 0: as q, k and v.  d_o is as o */
    clattn_pass pass;      /* default CLATTN_FORWARD */
    clattn_type type_bias; /* of the elements of bias; default 0: as type */
    cl_uint seq_q_least; /* default 0: as seq_q.  A plan is right for every number of queries up to
                      seq_q, and fast near seq_q; with this, fast from here on: for the few
                      queries of decoding it may compile further variants, which run where a
                      call has so few (a row's bits then depend on how many).  Not with variant
                      and not in backward, which ignore this */
    cl_uint unused;      /* 0: room for a later member */
} clattn_desc;

#define CLATTN_DESC_INIT                                                                          \
    {                                                                                             \
        sizeof(clattn_desc), CLATTN_F32, 1, 1, 0, 0, 0, 0, 0, CLATTN_UNBOUNDED, CLATTN_UNBOUNDED, \
            CLATTN_ALIGN_END, 0.0f, NULL, 0, 0, 0, 0, 0, 0, CLATTN_FORWARD, 0, 0, 0               \
    }

/* Problem texts, "f16 b2 h32:8 q4096 k4096 d128:64 causal": the same words in
 * tests, benchmarks, tools and bug reports.
 *
 *     f32 | f16 | bf16    type                  causal          band_right 0
 *     kT, vT, oT, dT      type_k ... type_d: kf16, of32
 *     bN                  batch                 windowL,R       band (-1: unbounded)
 *     hN or hQ:KV         heads                 end | start     alignment
 *     qN, kN              lengths               softcapX
 *     qLEAST-N            seq_q_least, seq_q
 *     dN or dQK:V         head dimensions       aligned         CLATTN_PROMISE_ALIGNED
 *     fwd | bwd | merge   pass                  alibi           CLATTN_FEATURE_ALIBI
 *     bias | biasT        BIAS; type_bias       mask            CLATTN_FEATURE_MASK
 *                                               sink            CLATTN_FEATURE_SINK
 *
 * Words in any order, each at most once; what is left out has its default, k
 * that of q.  q and d are required.  desc has been set by CLATTN_DESC_INIT; on
 * success all of it but size is replaced, variant by NULL, else nothing. */
CLATTN_API cl_int clattn_desc_parse(const char *text, clattn_desc *desc);

/* The inverse: the type of q, and else the shortest text that parses to the same problem.  capacity
 * and needed as in clattn_context_describe. */
CLATTN_API cl_int clattn_desc_format(const clattn_desc *desc, char *text, size_t capacity,
                                     size_t *needed);

/* ---- Plan --------------------------------------------------------------- */

typedef struct clattn_plan_s *clattn_plan;

/* Checks the problem, chooses a variant, composes and compiles its program (or finds
 * it in the context's cache).  May take a second or more; enqueues then do not,
 * but for the first one on drivers that compile late (PoCL: 0.1 to 0.4 s more).
 * *result is NULL on failure. */
CLATTN_API cl_int clattn_plan_create(clattn_context context, const clattn_desc *desc,
                                     clattn_plan *result);

/* As clattn_plan_create, for callers that do not want to keep plans themselves: gives the plan that
 * this function made before for an equal problem, or makes it.  Equal are descs that ask the same
 * context for the same computation (defaults filled in, a band that hides no key left out) with the
 * same promises and the same text of variant.  To find a plan costs microseconds.  notify hears
 * remarks only when the plan is made.  All callers share the plan.  Each calls clattn_plan_destroy
 * once for each clattn_plan_find; the others may go on using the plan meanwhile.  When the last
 * caller has destroyed the plan, the context keeps it for the next clattn_plan_find: the 64 plans
 * that were destroyed last.  Such plans do not keep the context alive. */
CLATTN_API cl_int clattn_plan_find(clattn_context context, const clattn_desc *desc,
                                   clattn_plan *result);

/* What clattn_plan_create would answer, short of compiling: its code, and in text what
 * clattn_plan_describe would say of the plan or, where there would be none, the sentence that
 * refuses and then why each solver was refused.  Costs microseconds.  What only the
 * device's compiler can tell is not known: the plan may still take a smaller variant or another
 * solver, or fail.  notify hears of misuse alone (text NULL).  capacity and needed as in
 * clattn_context_describe. */
CLATTN_API cl_int clattn_supports(clattn_context context, const clattn_desc *desc, char *text,
                                  size_t capacity, size_t *needed);

/* Receives a variant that can run the problem, with all its parameters, and what it may cost: in
 * seconds, but of a model that knows neither clock nor caches, so that only the order of costs for
 * one problem on one device means something.  The text lives until the callback returns.  Returns 0
 * to go on; anything else ends the call, which then returns CL_SUCCESS. */
typedef cl_int(CL_CALLBACK *clattn_candidate)(const char *variant, double cost, void *user_data);

/* For tuners: the variants that are worth trying for the problem on the context's device, each
 * once, on the calling thread.  The first is what clattn would choose from the device's facts,
 * without any tuning table; the others follow, the lowest cost first: what the solvers' rules
 * allow, at most 1,024 of each solver.  Where desc.variant names a solver, or gives some
 * parameters, too, all variants have these; without it there is none of a baseline.  Nothing is
 * compiled, and so a variant may still fail to build, or be slow; the call takes some hundredths
 * or tenths of a second.  Fails as clattn_supports does, and then notify hears why; the callback is
 * not called. */
CLATTN_API cl_int clattn_candidates(clattn_context context, const clattn_desc *desc,
                                    clattn_candidate callback, void *user_data);

/* Accepts NULL.  Enqueued work may still be running: OpenCL keeps what it needs.  A plan of
 * clattn_plan_find is gone for this caller alone. */
CLATTN_API void clattn_plan_destroy(clattn_plan plan);

/* The bytes of workspace that each enqueue of the plan has to be given (workspace of its args); 0:
 * no enqueue needs a workspace.  Variants of fwd_wgmma, of the baselines and of the backward pass
 * need one, others do not. */
CLATTN_API cl_int clattn_plan_workspace_size(clattn_plan plan, size_t *bytes);

/* The plan's variant: "fwd_tile BLOCK_M=64 ...".  The text lives as long as the plan.  Some solvers
 * (fwd_wgmma) cannot run with all strides.  Without CLATTN_PROMISE_ALIGNED a plan then holds a
 * second variant, of another solver, for enqueues with such strides; clattn_plan_describe names it.
 * If no second variant builds, notify gets a remark when the plan is made, and such an enqueue
 * returns CLATTN_UNSUPPORTED. */
CLATTN_API const char *clattn_plan_variant(clattn_plan plan);

/* Writes to text what the plan is and why its variant was chosen, line by line: the problem, the
 * device, the bytes of workspace; then for each solver whether it was chosen (and where its variant
 * comes from) or not (and the reason).  Where the variant cannot run with all strides, two last
 * lines say what runs with "aligned strides" and with "other strides".
 * text, capacity and needed as in clattn_context_describe. */
CLATTN_API cl_int clattn_plan_describe(clattn_plan plan, char *text, size_t capacity,
                                       size_t *needed);

/* ---- Enqueue ------------------------------------------------------------ */

/* Where a tensor lies: exactly one of buffer and svm, a byte offset into it (a
 * multiple of the element's size; see CLATTN_Q8_0), and strides in elements.  Elements of the last
 * dimension are contiguous.  Strides are not negative; inputs may overlap or broadcast with
 * stride 0.  A tensor without elements may have no memory at all. */
typedef struct clattn_tensor {
    size_t size;
    cl_mem buffer;
    void *svm;
    size_t offset;        /* bytes */
    cl_long stride_batch; /* elements */
    cl_long stride_head;
    cl_long stride_row;
} clattn_tensor;

#define CLATTN_TENSOR_INIT \
    { sizeof(clattn_tensor), NULL, NULL, 0, 0, 0, 0 }

/* Dense [batch, heads, rows, dim] and [batch, rows, heads, dim].  For lse, dim is 1. */
#define CLATTN_TENSOR_BHSD(buffer, heads, rows, dim)                                               \
    {                                                                                              \
        sizeof(clattn_tensor), (buffer), NULL, 0,                                                  \
            (cl_long)(heads) * (cl_long)(rows) * (cl_long)(dim), (cl_long)(rows) * (cl_long)(dim), \
            (cl_long)(dim)                                                                         \
    }
#define CLATTN_TENSOR_BSHD(buffer, heads, rows, dim)                             \
    {                                                                            \
        sizeof(clattn_tensor), (buffer), NULL, 0,                                \
            (cl_long)(heads) * (cl_long)(rows) * (cl_long)(dim), (cl_long)(dim), \
            (cl_long)(heads) * (cl_long)(dim)                                    \
    }

/* One number for each query head, one after the other, the same for all batches. */
#define CLATTN_TENSOR_HEADS(buffer) \
    { sizeof(clattn_tensor), (buffer), NULL, 0, 0, 1, 0 }

#define CLATTN_FROM_DESC 0xFFFFFFFFu         /* the length that the plan was made for */
#define CLATTN_SCALE_DEFAULT 3.402823466e38f /* 1 / sqrt(head_dim) */

/* Tensors that come with features: each is given where its bit is set in the plan's desc.features,
 * and NULL elsewhere (else CLATTN_INVALID_ARGS). */
typedef struct clattn_extras {
    size_t size;
    const clattn_tensor *alibi; /* CLATTN_FEATURE_ALIBI: slopes [batch, heads_q], F32, any finite
                                   numbers.  stride_row is not used; see CLATTN_TENSOR_HEADS */
    /* CLATTN_FEATURE_BIAS, CLATTN_FEATURE_MASK: [batch, heads_q, seq_q, seq_kv], by the lengths of
     * the enqueue, in desc.type_bias and bytes.  A stride of 0 repeats what there is: with
     * stride_batch, stride_head and stride_row 0 the tensor has one number for each key. */
    const clattn_tensor *bias;
    const clattn_tensor *mask;
    const clattn_tensor *sink; /* CLATTN_FEATURE_SINK: [batch, heads_q], F32, finite or -inf */
    /* Of a backward pass: written, shaped as bias and sink; NULL: not computed.  Where a stride is
     * 0, the gradient is the sum over that dimension, whatever the strides of bias and sink are.
     * d_bias is of desc.type_d or, where that is 0, of bias's type; d_sink is F32.  A bias that
     * hides a key has the gradient 0. */
    const clattn_tensor *d_bias;
    const clattn_tensor *d_sink;
    const clattn_tensor *lengths_kv; /* CLATTN_FEATURE_LENGTHS: [batch], integers of 32 bits with
                                        a sign (cl_int).  stride_head, stride_row: not used */
} clattn_extras;

#define CLATTN_EXTRAS_INIT \
    { sizeof(clattn_extras), NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/* What may change from call to call. */
typedef struct clattn_forward_args {
    size_t size;
    const clattn_tensor *q;
    const clattn_tensor *k;
    const clattn_tensor *v;
    const clattn_tensor *o;
    const clattn_tensor
        *lse;         /* F32, natural log of the row's sum of exp(score); NULL: not written */
    cl_mem workspace; /* at least clattn_plan_workspace_size from workspace_offset on;
                         NULL if that is 0 (then what stands here is ignored).  Two enqueues
                         that may run at the same time need two workspaces. */
    size_t workspace_offset;     /* bytes; a multiple of 256.  With workspace_svm, the address plus
                                    workspace_offset is a multiple of 256 instead. */
    cl_uint batch;               /* CLATTN_FROM_DESC, or at most the plan's */
    cl_uint seq_q;               /* likewise */
    cl_uint seq_kv;              /* likewise: a decoder whose cache grows never re-plans */
    float scale;                 /* default CLATTN_SCALE_DEFAULT; else 0, or a number for which
                                    |scale| log2(e), with a softcap |scale / softcap|, is a normal
                                    float, at most 2^112 where the type is f16 or bf16 */
    const clattn_extras *extras; /* default NULL: none */
    void *workspace_svm; /* default NULL; shared virtual memory in place of workspace, which is
                            then NULL.  "standard" cannot use it (CLATTN_UNSUPPORTED) */
} clattn_forward_args;

#define CLATTN_FORWARD_ARGS_INIT                                                              \
    {                                                                                         \
        sizeof(clattn_forward_args), NULL, NULL, NULL, NULL, NULL, NULL, 0, CLATTN_FROM_DESC, \
            CLATTN_FROM_DESC, CLATTN_FROM_DESC, CLATTN_SCALE_DEFAULT, NULL, NULL              \
    }

/* Enqueues one forward pass.  queue belongs to the context's device, in-order or
 * out-of-order.  event (may be NULL) completes when o and lse are written, and
 * must be released.  Everything is checked before anything is enqueued: on
 * failure *event is NULL and no memory is touched (workspace excepted, when the
 * driver itself fails between two of a variant's launches).
 *
 * The baseline "standard" calls CLBlast, which at its first call compiles kernels
 * of its own, may allocate device memory, and may fail with lse or o already
 * written; no other variant does. */
CLATTN_API cl_int clattn_enqueue_forward(clattn_plan plan, cl_command_queue queue,
                                         const clattn_forward_args *args,
                                         cl_uint num_events_in_wait_list,
                                         const cl_event *event_wait_list, cl_event *event);

/* What may change from call to call of a backward plan.  q, k, v, o and lse are those of the
 * forward pass, d_o and d_lse the gradients of o and lse; the shapes are those of clattn_desc. */
typedef struct clattn_backward_args {
    size_t size;
    const clattn_tensor *q;
    const clattn_tensor *k;
    const clattn_tensor *v;
    const clattn_tensor *o;
    const clattn_tensor *lse;   /* F32 */
    const clattn_tensor *d_o;   /* of o's type */
    const clattn_tensor *d_lse; /* F32; NULL: lse has no gradient */
    const clattn_tensor *d_q;   /* d_q, d_k, d_v: written; NULL: not computed */
    const clattn_tensor *d_k;
    const clattn_tensor *d_v;
    cl_mem workspace; /* this and the members below as in clattn_forward_args */
    size_t workspace_offset;
    void *workspace_svm;
    cl_uint batch;
    cl_uint seq_q;
    cl_uint seq_kv;
    float scale;
    const clattn_extras *extras;
} clattn_backward_args;

#define CLATTN_BACKWARD_ARGS_INIT                                                                 \
    {                                                                                             \
        sizeof(clattn_backward_args), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
            NULL, 0, NULL, CLATTN_FROM_DESC, CLATTN_FROM_DESC, CLATTN_FROM_DESC,                  \
            CLATTN_SCALE_DEFAULT, NULL                                                            \
    }

/* Enqueues one backward pass, as clattn_enqueue_forward does a forward pass; where the driver
 * itself fails between two launches, some gradients may be written already.
 * clattn_enqueue_backward with a forward plan, and clattn_enqueue_forward with a backward plan,
 * return CLATTN_INVALID_ARGS. */
CLATTN_API cl_int clattn_enqueue_backward(clattn_plan plan, cl_command_queue queue,
                                          const clattn_backward_args *args,
                                          cl_uint num_events_in_wait_list,
                                          const cl_event *event_wait_list, cl_event *event);

/* What may change from call to call of a plan with CLATTN_MERGE.  Of its desc count batch, heads_q,
 * seq_q, head_dim_v, type (of o_1 and o_2) and type_o; features is 0. */
typedef struct clattn_merge_args {
    size_t size;
    const clattn_tensor *o_1;   /* [batch, heads_q, seq_q, head_dim_v], of desc.type */
    const clattn_tensor *lse_1; /* [batch, heads_q, seq_q], F32, natural logarithms */
    const clattn_tensor *o_2;
    const clattn_tensor *lse_2;
    const clattn_tensor *o;   /* of desc.type_o */
    const clattn_tensor *lse; /* F32; NULL: not written */
    cl_uint batch;            /* CLATTN_FROM_DESC, or at most the plan's */
    cl_uint seq_q;            /* likewise */
} clattn_merge_args;

#define CLATTN_MERGE_ARGS_INIT                                                           \
    {                                                                                    \
        sizeof(clattn_merge_args), NULL, NULL, NULL, NULL, NULL, NULL, CLATTN_FROM_DESC, \
            CLATTN_FROM_DESC                                                             \
    }

/* Joins the results of two forward passes of the same queries over disjoint keys: o and lse become
 * what one pass over all these keys gives, up to rounding (o_1 and o_2 are rounded to their type).
 * For keys that several devices hold, or several caches (a prefix that many sequences share).  A
 * row whose lse_1 or lse_2 is -inf has seen no key there; with both, o is 0 and lse is -inf. In
 * place: o may be o_1 or o_2, and lse may be lse_1 or lse_2, the same memory with the same strides
 * and, for o, the same type; any other sharing of bytes is refused (CLATTN_OVERLAP).  No workspace
 * is needed.  Otherwise as clattn_enqueue_forward. */
CLATTN_API cl_int clattn_enqueue_merge(clattn_plan plan, cl_command_queue queue,
                                       const clattn_merge_args *args,
                                       cl_uint num_events_in_wait_list,
                                       const cl_event *event_wait_list, cl_event *event);

#ifdef __cplusplus
}
#endif

#endif
