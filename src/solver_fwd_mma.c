/*
 * fwd_mma - for matrix engines: the tiled loop over the contract of engines (cl/fwd_mma.cl).
 *
 * The candidates go from large to small; the first that fits the engine's registers, the
 * device's local memory and its work-group limit wins.  On a device without an engine it runs
 * only where the caller names one, for tests: plain, which is none, or with EMULATED=1 any.
 */
#include <assert.h>
#include <string.h>

#include "engines.h"
#include "size.h"
#include "solvers.h"

enum { COUNT = 7, MOST_HEAD_DIM = 256 };

static const struct solver_parameter parameters[COUNT] = {
    {"ENGINE", 1, 0},      {"WAVES", 1, 32},     {"ROW_FRAGMENTS", 1, 8}, {"BLOCK_N", 16, 512},
    {"Q_REGISTERS", 0, 1}, {"FAST_LOADS", 0, 1}, {"EMULATED", 0, 1},
};

static const struct engine *engine_of(const struct variant *v) {
    const char *name = variant_find(v, "ENGINE");
    return name ? engines_find(name, strlen(name)) : NULL;
}

static cl_ulong width_of(cl_uint head_dim) {
    return size_div_up(head_dim, 16) * 16;
}

/* As the kernel declares it. */
static cl_ulong local_bytes(const struct problem *p, const struct engine *engine,
                            const struct variant *v) {
    const cl_ulong waves = (cl_ulong)variant_number(v, "WAVES", 0);
    const cl_ulong keys = (cl_ulong)variant_number(v, "BLOCK_N", 0);
    const cl_ulong rows = waves * (cl_ulong)variant_number(v, "ROW_FRAGMENTS", 0) * engine->queries;
    const cl_ulong row_k = width_of(p->head_dim), row_v = width_of(p->head_dim_v);
    const cl_ulong pad = 8;
    const cl_ulong elements = rows * ((row_k > row_v ? row_k : row_v) + pad) +
                              keys * (row_k + pad) + keys * (row_v + pad);
    const cl_ulong scratch =
        variant_number(v, "EMULATED", 0) ? engine->lanes * (engine->left + engine->right) : 1;
    const cl_ulong rest = 72; /* what one work-item notes for all: `kept` and `found` */
    return elements * 2 + waves * scratch * 4 + rest;
}

static const char no_engine[] = "the device has no matrix engine that clattn knows";

static const char *refuses(const struct problem *p, const struct device *d) {
    const struct engine *engine = engines_first(d);
    struct variant least = {.count = 0};
    variant_set(&least, "WAVES", 1);
    variant_set(&least, "ROW_FRAGMENTS", 1);
    variant_set(&least, "BLOCK_N", 16);
    return p->type == CLATTN_F32 ? "matrix engines take 16-bit elements; f32 is for others"
           : p->head_dim > MOST_HEAD_DIM || p->head_dim_v > MOST_HEAD_DIM
               ? "head dimensions over 256 have no room in registers"
           : local_bytes(p, engine ? engine : engines_find("plain", strlen("plain")), &least) >
                   d->local_memory
               ? "the device has too little local memory for 16 keys"
               : solvers_refuse_loops(p, d, 64);
}

static bool legal(const struct problem *p, const struct device *d, const struct variant *v,
                  struct text *why) {
    const struct engine *engine = engine_of(v);
    assert(engine); /* complete has set it */
    const bool emulated = variant_number(v, "EMULATED", 0) != 0;
    const cl_ulong most = d->work_items < d->work_group ? d->work_items : d->work_group;
    const cl_ulong threads = (cl_ulong)variant_number(v, "WAVES", 0) * engine->lanes;
    if (!engine->architectures && emulated) {
        text_printf(why, "the engine %s has nothing to emulate", engine->name);
    } else if (variant_number(v, "BLOCK_N", 0) % 16 != 0) {
        text_printf(why, "BLOCK_N=%lld is not a multiple of 16", variant_number(v, "BLOCK_N", 0));
    } else if (threads > most) {
        text_printf(why, "%llu work-items are over the device's %llu", (unsigned long long)threads,
                    (unsigned long long)most);
    } else if (local_bytes(p, engine, v) > d->local_memory) {
        text_printf(why, "%llu bytes of local memory are over the device's %llu",
                    (unsigned long long)local_bytes(p, engine, v),
                    (unsigned long long)d->local_memory);
    } else {
        return true;
    }
    return false;
}

/* Chunks of a tile of K or V that a work-item copies, where it does not stay in its column. */
static cl_ulong chunks_apart(cl_ulong keys, cl_uint head_dim, cl_ulong threads) {
    const cl_ulong columns = width_of(head_dim) / 8;
    const bool stays = threads % columns == 0 && keys * columns % threads == 0;
    return stays ? 0 : size_div_up(keys * columns, threads);
}

/* Sums of O and scores, and addresses. */
static bool fits_registers(const struct problem *p, const struct engine *engine,
                           const long long *shape) {
    const cl_ulong waves = (cl_ulong)shape[0], keys = (cl_ulong)shape[2];
    const cl_ulong rows = (cl_ulong)shape[1] * engine->queries, threads = waves * engine->lanes;
    const cl_ulong floats = rows * (width_of(p->head_dim_v) + keys) / engine->lanes;
    const cl_ulong chunks =
        chunks_apart(keys, p->head_dim, threads) + chunks_apart(keys, p->head_dim_v, threads);
    return keys <= engine->keys && floats + chunks * engine->address <= engine->floats;
}

/* WAVES, ROW_FRAGMENTS, BLOCK_N; from large to small. */
enum { SHAPES = 13, TALL = 2 };
static const long long shapes[SHAPES][3] = {
    {4, 2, 128}, {4, 2, 64}, {8, 1, 64}, {4, 1, 64}, {8, 1, 32}, {4, 1, 32}, {16, 1, 16},
    {8, 1, 16},  {4, 1, 16}, {2, 1, 32}, {2, 1, 16}, {1, 1, 32}, {1, 1, 16},
};

/* Is there local memory for two work-groups of the shape after TALL?  A multiprocessor has at
 * least what a work-group may have. */
static bool two_are_resident(const struct problem *p, const struct device *d,
                             const struct engine *engine) {
    const long long *const shape = shapes[TALL + 1];
    struct variant v = {.count = 0};
    variant_set(&v, "WAVES", shape[0]);
    variant_set(&v, "ROW_FRAGMENTS", shape[1]);
    variant_set(&v, "BLOCK_N", shape[2]);
    return 2 * local_bytes(p, engine, &v) <= d->local_memory;
}

static const char *unsuited(const struct problem *p, const struct device *d) {
    const struct engine *engine = engines_first(d);
    bool fits = false;
    for (size_t i = 0; engine && i < SHAPES; i++) {
        fits = fits || fits_registers(p, engine, shapes[i]);
    }
    return !engine ? no_engine
           : !fits ? "rows of v are too long for the registers beside the device's matrix engine"
                   : NULL;
}

static bool lacks(const struct device *d, const struct variant *v, struct text *why) {
    const bool named = variant_find(v, "ENGINE") != NULL,
               emulated = variant_number(v, "EMULATED", 0) != 0;
    const struct engine *const engine = named ? engine_of(v) : NULL, *const own = engines_first(d);
    if (!named && !own) {
        text_printf(why, "%s%s", no_engine,
                    emulated ? "; EMULATED=1 needs the name of one, ENGINE=..." : "");
        return true;
    }
    if (engine && engine->architectures && !emulated && !engines_has(d, engine)) {
        text_printf(why, "the device's matrix engine is %s, not %s", own ? own->name : "none",
                    engine->name);
        return true;
    }
    return false;
}

static bool complete(const struct problem *p, const struct device *d, struct variant *v,
                     struct text *why) {
    const bool emulated = variant_number(v, "EMULATED", 0) != 0;
    struct variant given = *v;
    if (lacks(d, v, why)) {
        return false;
    }
    if (!variant_find(&given, "ENGINE")) {
        variant_set_word(&given, "ENGINE", engines_first(d)->name);
    }
    const struct engine *engine = engine_of(&given);
    if (!engine) {
        text_printf(why, "there is no engine %s, but", variant_find(&given, "ENGINE"));
        for (engine = engines_table; engine->name; engine++) {
            text_printf(why, "%s %s", engine == engines_table ? "" : ",", engine->name);
        }
        return false;
    }
    long long candidates[SHAPES][COUNT];
    size_t count = 0;
    for (size_t i = 0; i < SHAPES; i++) {
        const long long waves = shapes[i][0], rows = waves * shapes[i][1] * engine->queries;
        const long long c[COUNT] = {0, waves, shapes[i][1], shapes[i][2], 0, 1, emulated};
        /* Few query rows: no block twice as high as they need. */
        const bool too_high = rows >= 2 * (long long)p->seq_q && waves > 1;
        /* Twice as many waves in one work-group only where it would be alone. */
        const bool too_tall = i == TALL && two_are_resident(p, d, engine);
        /* Emulation is for tests: two waves, which can disturb one another, are enough. */
        const bool too_slow = emulated && waves > 2;
        if ((fits_registers(p, engine, shapes[i]) && !too_high && !too_tall && !too_slow) ||
            i + 1 == SHAPES) {
            memcpy(candidates[count++], c, sizeof c);
        }
    }
    if (!solvers_complete(p, d, &given, parameters, COUNT, candidates[0], count, legal, why)) {
        return false;
    }
    *v = given;
    return true;
}

static struct ndrange ndrange(const struct variant *v, const struct params *params, size_t kernel) {
    (void)kernel;
    const struct engine *engine = engine_of(v);
    const cl_ulong waves = (cl_ulong)variant_number(v, "WAVES", 1);
    const cl_ulong rows = waves * (cl_ulong)variant_number(v, "ROW_FRAGMENTS", 1) * engine->queries;
    const size_t threads = (size_t)(waves * engine->lanes);
    return (struct ndrange){{size_mul_capped(solvers_blocks(params, rows), threads), 1},
                            {threads, 1}};
}

static const char *options(const struct variant *v) {
    return variant_number(v, "EMULATED", 0) ? "" : engine_of(v)->options;
}

static const struct program_recipe *recipe(const struct variant *v, size_t kernel) {
    static const struct program_recipe one = {
        .kernel = "fwd_mma",
        .reads = "q k v",
        .writes = "o lse",
        .parts = {"params.h", "base.cl", "slice.cl", "span.cl", "finite.cl", "score.cl", "state.cl",
                  "engine.cl", "engine_<ENGINE>.cl", "engine_move.cl", "fwd_mma.cl"},
        .constants = "#define LANES 1\n",
        .segment_from = SOLVERS_ENGINE_KEYS,
        .options = ENGINES_OPTIONS,
        .variant_options = options,
    };
    (void)v;
    (void)kernel;
    return &one;
}

extern const struct solver solver_fwd_mma;
const struct solver solver_fwd_mma = {
    .name = "fwd_mma",
    .refuses = refuses,
    .lacks = lacks,
    .unsuited = unsuited,
    .complete = complete,
    .kernels = 1,
    .recipe = recipe,
    .ndrange = ndrange,
};
