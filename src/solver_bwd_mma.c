/*
 * bwd_mma - for matrix engines: d_q by blocks of queries (cl/bwd_mma_q.cl), d_k and d_v by blocks
 * of keys (cl/bwd_mma_kv.cl), over the contract of engines.
 *
 * Each kernel has candidates of its own, from large to small; those that fit the engine's
 * registers, the device's local memory and its work-group limit are taken side by side, so that a
 * tuner meets each once.  On a device without an engine the solver runs only where the caller names
 * one, for tests: plain, which is none, or with EMULATED=1 any.
 */
#include <string.h>

#include "engines.h"
#include "size.h"
#include "solvers.h"

enum { MOST_HEAD_DIM = 256 };

enum {
    WORK_GROUP = SOLVERS_ROWS_WORK_GROUP,
    ENGINE,
    FAST_LOADS,
    EMULATED,
    Q_WAVES,
    Q_ROW_FRAGMENTS,
    Q_BLOCK_N,
    Q_STAGES,
    KV_WAVES,
    KV_ROW_FRAGMENTS,
    KV_BLOCK_N,
    KV_STAGES,
    TOGETHER
};

static const char *engine_word(size_t i) {
    return engines_table[i].name;
}

static const struct solver_parameter parameters[] = {
    SOLVERS_NUMBER(WORK_GROUP, 1, 1024),
    SOLVERS_WORD(ENGINE, engine_word),
    SOLVERS_NUMBER(FAST_LOADS, 0, 1),
    SOLVERS_NUMBER(EMULATED, 0, 1),
    SOLVERS_NUMBER(Q_WAVES, 1, 32),
    SOLVERS_NUMBER(Q_ROW_FRAGMENTS, 1, 8),
    SOLVERS_NUMBER(Q_BLOCK_N, 16, 512),
    SOLVERS_NUMBER(Q_STAGES, 1, 2),
    SOLVERS_NUMBER(KV_WAVES, 1, 32),
    SOLVERS_NUMBER(KV_ROW_FRAGMENTS, 1, 8),
    SOLVERS_NUMBER(KV_BLOCK_N, 16, 512),
    SOLVERS_NUMBER(KV_STAGES, 1, 2),
    SOLVERS_NUMBER(TOGETHER, 0, 1), /* d_k and d_v by one kernel, or each by its own */
    {0},
};

/* The part of the values that one kernel takes: Q_WAVES ... or KV_WAVES ... */
enum { Q = Q_WAVES, KV = KV_WAVES };
enum { SHAPE_WAVES, SHAPE_FRAGMENTS, SHAPE_BLOCK_N, SHAPE_STAGES, SHAPE };

static cl_ulong width_of(cl_uint head_dim) {
    return size_div_up(head_dim, 16) * 16;
}

static const struct engine *engine_of(const long long *v) {
    return &engines_table[v[ENGINE]];
}

static size_t work_items(const long long *v, int of) {
    return (size_t)v[of + SHAPE_WAVES] * engine_of(v)->lanes;
}

static size_t work_items_q(const long long *v) {
    return work_items(v, Q);
}

static size_t work_items_kv(const long long *v) {
    return work_items(v, KV);
}

/* Rows of a work-group: queries of d_q, keys of d_k and d_v. */
static cl_ulong block_rows(const long long *v, int of) {
    return (cl_ulong)(v[of + SHAPE_WAVES] * v[of + SHAPE_FRAGMENTS]) * engine_of(v)->queries;
}

/* As the kernels declare it. */
static cl_ulong local_bytes(const struct problem *p, const long long *v, int of) {
    const struct engine *engine = engine_of(v);
    const cl_ulong waves = (cl_ulong)v[of + SHAPE_WAVES];
    const cl_ulong others = (cl_ulong)(v[of + SHAPE_STAGES] * v[of + SHAPE_BLOCK_N]);
    const cl_ulong pad = 8, row = width_of(p->head_dim) + width_of(p->head_dim_v) + 2 * pad;
    const cl_ulong scratch = v[EMULATED] ? engine->lanes * (engine->left + engine->right) : 1;
    const cl_ulong numbers = of == KV ? others * 8 : 0; /* lse and delta */
    return (block_rows(v, of) + others) * row * 2 + numbers + waves * scratch * 4;
}

static const char no_engine[] = "the device has no matrix engine that clattn knows";

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    if (v[ENGINE] == SOLVERS_MISSING) {
        return status_set(status, CLATTN_UNSUPPORTED, "%s%s", no_engine,
                          v[EMULATED] ? "; EMULATED=1 needs the name of one, ENGINE=..." : "");
    }
    const struct engine *const engine = engine_of(v), *const own = engines_first(d);
    if (engine->architectures && !v[EMULATED] && !engines_has(d, engine)) {
        return status_set(status, CLATTN_UNSUPPORTED, "the device's matrix engine is %s, not %s",
                          own ? own->name : "none", engine->name);
    }
    if (!engine->architectures && v[EMULATED]) {
        return status_set(status, CLATTN_INVALID_VARIANT, "the engine %s has nothing to emulate",
                          engine->name);
    }
    cl_int code = solvers_check_group(d, v[WORK_GROUP], 0, status);
    const int parts[] = {Q, KV};
    for (size_t i = 0; i < 2 && code == CL_SUCCESS; i++) {
        const int of = parts[i];
        if (v[of + SHAPE_BLOCK_N] % 16 != 0) {
            return status_set(status, CLATTN_INVALID_VARIANT, "%s=%lld is not a multiple of 16",
                              parameters[of + SHAPE_BLOCK_N].name, v[of + SHAPE_BLOCK_N]);
        }
        code = solvers_check_group(d, (long long)work_items(v, of),
                                   (long long)local_bytes(p, v, of), status);
    }
    return code;
}

/* Chunks of a tile that a work-item copies, where it does not stay in its column. */
static cl_ulong chunks_apart(cl_ulong rows, cl_uint head_dim, cl_ulong threads) {
    const cl_ulong columns = width_of(head_dim) / 8;
    const bool stays = threads % columns == 0 && rows * columns % threads == 0;
    return stays ? 0 : size_div_up(rows * columns, threads);
}

/* Sums, scores and their gradients, and addresses. */
static bool fits_registers(const struct problem *p, const long long *v, int of) {
    const struct engine *engine = engine_of(v);
    const cl_ulong others = (cl_ulong)v[of + SHAPE_BLOCK_N], threads = work_items(v, of);
    const cl_ulong own = (cl_ulong)v[of + SHAPE_FRAGMENTS] * engine->queries;
    const cl_ulong k = width_of(p->head_dim), v_columns = width_of(p->head_dim_v);
    const cl_ulong columns = of == Q         ? k
                             : v[TOGETHER]   ? k + v_columns
                             : k > v_columns ? k
                                             : v_columns;
    const cl_ulong floats = own * (columns + 2 * others) / engine->lanes;
    const cl_ulong chunks =
        chunks_apart(others, p->head_dim, threads) + chunks_apart(others, p->head_dim_v, threads);
    const cl_ulong most = of == KV && v[TOGETHER] ? engine->two_gradients : engine->one_gradient;
    return others <= engine->keys && floats + chunks * engine->address <= most;
}

/* WAVES, ROW_FRAGMENTS, BLOCK_N, STAGES; from large to small. */
enum { SHAPES = 13, LAST = SHAPES - 1 };
static const long long shapes[SHAPES][SHAPE] = {
    {8, 1, 64, 2}, {4, 2, 32, 2}, {8, 1, 32, 2}, {8, 1, 16, 2}, {8, 1, 16, 1},
    {4, 1, 64, 2}, {4, 1, 32, 2}, {4, 1, 16, 2}, {4, 1, 16, 1}, {2, 1, 32, 1},
    {2, 1, 16, 1}, {1, 1, 32, 1}, {1, 1, 16, 1},
};

/* Can the device run a kernel of that shape, with its sums in registers? */
static bool suits(const struct problem *p, const struct device *d, const long long *v, int of) {
    struct status ignored = {0};
    const bool runs = solvers_check_group(d, (long long)work_items(v, of),
                                          (long long)local_bytes(p, v, of), &ignored) == CL_SUCCESS;
    status_destroy(&ignored);
    /* Few rows: no block twice as high as they need. */
    const cl_ulong rows = of == Q ? p->seq_q : p->seq_kv;
    const bool too_high = block_rows(v, of) >= 2 * rows && v[of + SHAPE_WAVES] > 1;
    /* Emulation is for tests: two waves, which can disturb one another, are enough. */
    const bool too_slow = v[EMULATED] && v[of + SHAPE_WAVES] > 2;
    return runs && fits_registers(p, v, of) && !too_high && !too_slow;
}

static void take_shape(long long *v, int of, size_t shape) {
    memcpy(v + of, shapes[shape], sizeof shapes[shape]);
}

/* Shape i of those that suit, the last one of them again behind it.  False there; no shape suits:
 * the smallest. */
static bool nth_shape(const struct problem *p, const struct device *d, long long *v, int of,
                      size_t i) {
    size_t found = 0, last = LAST;
    for (size_t shape = 0; shape < SHAPES; shape++) {
        take_shape(v, of, shape);
        if (suits(p, d, v, of)) {
            last = shape;
            if (found++ == i) {
                return true;
            }
        }
    }
    take_shape(v, of, last);
    return false;
}

/* The place of the device's engine in the table; SOLVERS_MISSING where the device has none. */
static long long own_engine(const struct device *d) {
    const struct engine *engine = engines_first(d);
    return engine ? engine - engines_table : SOLVERS_MISSING;
}

/* Is there a shape whose sums have room in registers, on whatever device has the engine? */
static bool has_room(const struct problem *p, long long *v, int of) {
    bool room = false;
    for (size_t shape = 0; shape < SHAPES && !room; shape++) {
        take_shape(v, of, shape);
        room = fits_registers(p, v, of);
    }
    return room;
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    const cl_ulong most = d->work_items < d->work_group ? d->work_items : d->work_group;
    v[WORK_GROUP] = most < 64 ? (long long)most : 64;
    v[ENGINE] = solvers_given(given[ENGINE], own_engine(d));
    v[FAST_LOADS] = 1;
    v[EMULATED] = solvers_given(given[EMULATED], 0);
    v[TOGETHER] = solvers_given(given[TOGETHER], 1);
    take_shape(v, Q, LAST);
    take_shape(v, KV, LAST);
    if (v[ENGINE] == SOLVERS_MISSING) {
        return i == 0; /* nothing is legal */
    }
    if (given[TOGETHER] == SOLVERS_MISSING) {
        nth_shape(p, d, v, KV, 0);
        v[TOGETHER] = suits(p, d, v, KV);
    }
    const bool more_q = nth_shape(p, d, v, Q, i), more_kv = nth_shape(p, d, v, KV, i);
    return more_q || more_kv || i == 0;
}

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    struct problem keys = *p;
    keys.seq_kv = p->seq_q;
    const cl_ulong group = p->heads_q / p->heads_kv;
    const long long own = own_engine(d);
    const struct engine *plain = engines_find("plain", strlen("plain"));
    long long v[VARIANT_PARAMETERS] = {0};
    v[ENGINE] = solvers_given(own, plain - engines_table);
    const bool room = has_room(p, v, Q) && has_room(p, v, KV);
    take_shape(v, KV, LAST);
    const char *loops = solvers_refuse_loops(p, d, 64);
    const char *cannot = p->type == CLATTN_F32
                             ? "matrix engines take 16-bit elements; f32 is for others"
                         : p->head_dim > MOST_HEAD_DIM || p->head_dim_v > MOST_HEAD_DIM
                             ? "head dimensions over 256 have no room in registers"
                         : local_bytes(p, v, KV) > d->local_memory
                             ? "the device has too little local memory for 16 rows"
                         : loops ? loops
                                 : solvers_refuse_loops(&keys, d, size_mul_capped(64, group));
    const char *could =
        own == SOLVERS_MISSING ? no_engine
        : !room ? "a row's sums are too long for the registers beside the device's matrix engine"
                : NULL;
    return solvers_fitness(cannot, could, why);
}

static struct grid grid_q(const long long *v, const struct params *params) {
    return (struct grid){solvers_blocks(params, block_rows(v, Q)), 1};
}

static struct grid grid_kv(const long long *v, const struct params *params) {
    return (struct grid){solvers_blocks_of_keys(params, block_rows(v, KV)), 1};
}

static const char *options(const struct variant *v) {
    const char *name = variant_find(v, "ENGINE");
    return variant_number(v, "EMULATED", 0) ? "" : engines_find(name, strlen(name))->options;
}

#define STAGE(name, write, prefix, of_keys, its_pass, its_work_items, its_grid)                \
    {                                                                                          \
        .recipe = {.kernel = name,                                                             \
                   .reads = "q k v lse d_o scores workspace",                                  \
                   .writes = write,                                                            \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl",       \
                             "score.cl", "finite.cl", "state.cl", "grad.cl", "engine.cl",      \
                             "engine_<ENGINE>.cl", "engine_move.cl", "mma.cl", "mma_grads.cl", \
                             name ".cl"},                                                      \
                   .takes = "ENGINE FAST_LOADS EMULATED " prefix,                              \
                   .constants = "#define LANES 1\n",                                           \
                   .owns_keys = of_keys,                                                       \
                   .pass = its_pass,                                                           \
                   .segment_from = SOLVERS_ENGINE_KEYS,                                        \
                   .options = ENGINES_OPTIONS,                                                 \
                   .variant_options = options},                                                \
        .work_items = its_work_items, .grid = its_grid,                                        \
    }

static const struct stage of_q = STAGE("bwd_mma_q", "d_q", "Q_", false, NULL, work_items_q, grid_q);
static const struct stage of_kv =
    STAGE("bwd_mma_kv", "d_k d_v", "KV_", true, "0", work_items_kv, grid_kv);
static const struct stage of_v =
    STAGE("bwd_mma_kv", "d_v", "KV_", true, "1", work_items_kv, grid_kv);
static const struct stage of_k =
    STAGE("bwd_mma_kv", "d_k", "KV_", true, "2", work_items_kv, grid_kv);

static size_t stages(const struct variant *v, struct stage *to) {
    to[0] = solvers_delta;
    to[1] = of_q;
    if (variant_number(v, "TOGETHER", 1)) {
        to[2] = of_kv;
        return 3;
    }
    to[2] = of_v;
    to[3] = of_k;
    return 4;
}

extern const struct solver solver_bwd_mma;
const struct solver solver_bwd_mma = {
    .name = "bwd_mma",
    .pass = CLATTN_BACKWARD,
    .scored = true,
    .features = CLATTN_FEATURE_SINK,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .workspace = solvers_delta_workspace,
};
