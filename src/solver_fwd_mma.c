/*
 * fwd_mma - for matrix engines: the tiled loop over the contract of engines (cl/fwd_mma.cl).
 *
 * The candidates go from large to small; the first that fits the engine's registers, the
 * device's local memory and its work-group limit wins.  On a device without an engine it runs
 * only where the caller names one, for tests: plain, which is none, or with EMULATED=1 any.
 */
#include <string.h>

#include "engines.h"
#include "size.h"
#include "solvers.h"

enum { MOST_HEAD_DIM = 256 };

enum { ENGINE, WAVES, ROW_FRAGMENTS, BLOCK_N, FAST_LOADS, EMULATED };

static const char *engine_word(size_t i) {
    return engines_table[i].name;
}

static const struct solver_parameter parameters[] = {
    SOLVERS_WORD_OF(ENGINE, engine_word, ""),
    SOLVERS_NUMBER_OF(WAVES, 1, 32, "1 2 3 4 6 8 12 16"),
    SOLVERS_NUMBER_OF(ROW_FRAGMENTS, 1, 8, "1 2 3 4"),
    SOLVERS_NUMBER_OF(BLOCK_N, 16, 512, "16 32 48 64 80 96 112 128 192 256"),
    SOLVERS_NUMBER_OF(FAST_LOADS, 0, 1, ""),
    SOLVERS_NUMBER_OF(EMULATED, 0, 1, ""),
    {0},
};

static cl_ulong width_of(cl_uint head_dim) {
    return size_div_up(head_dim, 16) * 16;
}

static size_t work_items(const long long *v) {
    return (size_t)v[WAVES] * engines_table[v[ENGINE]].lanes;
}

static cl_ulong block_rows(const long long *v) {
    return (cl_ulong)(v[WAVES] * v[ROW_FRAGMENTS]) * engines_table[v[ENGINE]].queries;
}

/* As the kernel declares it. */
static cl_ulong local_bytes(const struct problem *p, const long long *v) {
    const struct engine *engine = &engines_table[v[ENGINE]];
    const cl_ulong waves = (cl_ulong)v[WAVES], keys = (cl_ulong)v[BLOCK_N];
    const cl_ulong row_k = width_of(p->head_dim), row_v = width_of(p->head_dim_v);
    const cl_ulong pad = 8;
    const cl_ulong elements = block_rows(v) * ((row_k > row_v ? row_k : row_v) + pad) +
                              keys * (row_k + pad) + keys * (row_v + pad);
    const cl_ulong scratch = v[EMULATED] ? engine->lanes * (engine->left + engine->right) : 1;
    const cl_ulong rest = 72; /* what one work-item notes for all: `kept` and `found` */
    const bool whole = p->softcap != 0 || p->features & feature_scored(); /* SCORE_WHOLE */
    const cl_ulong maxima = whole ? 1 : block_rows(v);
    return elements * 2 + (waves * scratch + maxima) * 4 + rest;
}

static const char no_engine[] = "the device has no matrix engine that clattn knows";

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    if (v[ENGINE] == SOLVERS_MISSING) {
        return status_set(status, CLATTN_UNSUPPORTED, "%s%s", no_engine,
                          v[EMULATED] ? "; EMULATED=1 needs the name of one, ENGINE=..." : "");
    }
    const struct engine *const engine = &engines_table[v[ENGINE]], *const own = engines_first(d);
    if (engine->architectures && !v[EMULATED] && !engines_has(d, engine)) {
        return status_set(status, CLATTN_UNSUPPORTED, "the device's matrix engine is %s, not %s",
                          own ? own->name : "none", engine->name);
    }
    if (!engine->architectures && v[EMULATED]) {
        return status_set(status, CLATTN_INVALID_VARIANT, "the engine %s has nothing to emulate",
                          engine->name);
    }
    if (v[BLOCK_N] % 16 != 0) {
        return status_set(status, CLATTN_INVALID_VARIANT, "BLOCK_N=%lld is not a multiple of 16",
                          v[BLOCK_N]);
    }
    return solvers_check_group(d, (long long)work_items(v), (long long)local_bytes(p, v), status);
}

/* Chunks of a tile of K or V that a work-item copies, where it does not stay in its column. */
static cl_ulong chunks_apart(cl_ulong keys, cl_uint head_dim, cl_ulong threads) {
    const cl_ulong columns = width_of(head_dim) / 8;
    const bool stays = threads % columns == 0 && keys * columns % threads == 0;
    return stays ? 0 : size_div_up(keys * columns, threads);
}

/* Sums of O and scores, and addresses. */
static cl_ulong registers(const struct problem *p, const long long *v) {
    const struct engine *engine = &engines_table[v[ENGINE]];
    const cl_ulong keys = (cl_ulong)v[BLOCK_N], threads = work_items(v);
    const cl_ulong rows = (cl_ulong)v[ROW_FRAGMENTS] * engine->queries;
    const cl_ulong floats = rows * (width_of(p->head_dim_v) + keys) / engine->lanes;
    const cl_ulong chunks =
        chunks_apart(keys, p->head_dim, threads) + chunks_apart(keys, p->head_dim_v, threads);
    return floats + chunks * engine->address;
}

static bool fits_registers(const struct problem *p, const long long *v) {
    const struct engine *engine = &engines_table[v[ENGINE]];
    return (cl_ulong)v[BLOCK_N] <= engine->keys && registers(p, v) <= engine->floats;
}

static void needs(const struct problem *p, const struct device *d, const long long *v, size_t stage,
                  struct solver_needs *to) {
    const struct engine *engine = &engines_table[v[ENGINE]];
    (void)d;
    (void)stage;
    to->rows = block_rows(v);
    to->met = (cl_ulong)v[BLOCK_N];
    to->local_memory = local_bytes(p, v);
    to->registers = registers(p, v);
    to->reads = 1 / (double)(v[ROW_FRAGMENTS] * engine->queries);
    to->engine = engine->architectures && !v[EMULATED] ? 8 : 0;
}

/* WAVES, ROW_FRAGMENTS, BLOCK_N; from large to small. */
enum { SHAPES = 13, TALL = 2 };
static const long long shapes[SHAPES][3] = {
    {4, 2, 128}, {4, 2, 64}, {8, 1, 64}, {4, 1, 64}, {8, 1, 32}, {4, 1, 32}, {16, 1, 16},
    {8, 1, 16},  {4, 1, 16}, {2, 1, 32}, {2, 1, 16}, {1, 1, 32}, {1, 1, 16},
};

static void take_shape(size_t shape, long long engine, long long emulated, long long *v) {
    v[ENGINE] = engine;
    v[WAVES] = shapes[shape][0];
    v[ROW_FRAGMENTS] = shapes[shape][1];
    v[BLOCK_N] = shapes[shape][2];
    v[FAST_LOADS] = 1;
    v[EMULATED] = emulated;
}

/* Is there local memory for two work-groups of the shape after TALL?  A multiprocessor has at
 * least what a work-group may have. */
static bool two_are_resident(const struct problem *p, const struct device *d, long long engine) {
    long long v[VARIANT_PARAMETERS];
    take_shape(TALL + 1, engine, 0, v);
    return 2 * local_bytes(p, v) <= d->local_memory;
}

/* The place of the device's engine in the table; SOLVERS_MISSING where the device has none. */
static long long own_engine(const struct device *d) {
    const struct engine *engine = engines_first(d);
    return engine ? engine - engines_table : SOLVERS_MISSING;
}

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    const long long own = own_engine(d);
    const struct engine *plain = engines_find("plain", strlen("plain"));
    long long v[VARIANT_PARAMETERS];
    bool room = false;
    for (size_t i = 0; own != SOLVERS_MISSING && i < SHAPES; i++) {
        take_shape(i, own, 0, v);
        room = room || fits_registers(p, v);
    }
    take_shape(SHAPES - 1, solvers_given(own, plain - engines_table), 0, v);
    const char *cannot =
        p->type == CLATTN_F32 ? "matrix engines take 16-bit elements; f32 is for others"
        : p->head_dim > MOST_HEAD_DIM || p->head_dim_v > MOST_HEAD_DIM
            ? "head dimensions over 256 have no room in registers"
        : local_bytes(p, v) > d->local_memory ? "the device has too little local memory for 16 keys"
                                              : solvers_refuse_loops(p, d, 64);
    const char *could =
        own == SOLVERS_MISSING ? no_engine
        : !room ? "rows of v are too long for the registers beside the device's matrix engine"
                : NULL;
    return solvers_fitness(cannot, could, why);
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    const long long engine = solvers_given(given[ENGINE], own_engine(d));
    const long long emulated = solvers_given(given[EMULATED], 0);
    for (size_t shape = 0; shape < SHAPES; shape++) {
        take_shape(shape, engine, emulated, v);
        if (engine == SOLVERS_MISSING) {
            return i == 0; /* nothing is legal */
        }
        /* Few query rows: no block twice as high as they need. */
        const bool too_high = block_rows(v) >= 2 * (cl_ulong)p->seq_q && v[WAVES] > 1;
        /* Twice as many waves in one work-group only where it would be alone. */
        const bool too_tall = shape == TALL && two_are_resident(p, d, engine);
        /* Emulation is for tests: two waves, which can disturb one another, are enough. */
        const bool too_slow = emulated && v[WAVES] > 2;
        const bool taken =
            (fits_registers(p, v) && !too_high && !too_tall && !too_slow) || shape + 1 == SHAPES;
        if (taken && i-- == 0) {
            return true;
        }
    }
    return false;
}

static struct grid grid(const long long *v, const struct params *params) {
    return (struct grid){solvers_blocks(params, block_rows(v)), 1};
}

static const char *options(const struct variant *v) {
    const char *name = variant_find(v, "ENGINE");
    return variant_number(v, "EMULATED", 0) ? "" : engines_find(name, strlen(name))->options;
}

static const struct stage only = {
    .recipe = {.kernel = "fwd_mma",
               .reads = "q k v scores sink",
               .writes = "o lse",
               .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                         "finite.cl", "state.cl", "engine.cl", "engine_<ENGINE>.cl",
                         "engine_move.cl", "mma.cl", "fwd_mma.cl"},
               .constants = "#define LANES 1\n",
               .segment_from = SOLVERS_ENGINE_KEYS,
               .options = ENGINES_OPTIONS,
               .variant_options = options},
    .work_items = work_items,
    .grid = grid,
};

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = only;
    return 1;
}

extern const struct solver solver_fwd_mma;
const struct solver solver_fwd_mma = {
    .name = "fwd_mma",
    .scored = true,
    .features = SOLVERS_HIDING | CLATTN_FEATURE_SINK,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .needs = needs,
};
