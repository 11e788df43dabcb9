#include "fixtures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "sources.h"

static const char *const names[FIXTURES] = {
    "a100",     "h200",        "rtx_4090",   "t4",       "mi250",
    "mi300x",   "rx_7900_xtx", "rx_9070_xt", "arc_a770", "gpu_max_1550",
    "mali_g78", "adreno_740",  "pocl",       "rusticl",  "embedded_minimum",
};

char *fixtures_read(const char *data, const char *file) {
    enum { MOST = 1 << 16 };
    struct text path = {0};
    text_printf(&path, "%s/fixtures/%s", data, file);
    FILE *opened = fopen(text_chars(&path), "rb");
    if (!opened) {
        fail_msg("cannot open %s", text_chars(&path));
    }
    text_destroy(&path);
    char *chars = calloc(1, MOST);
    assert_non_null(chars);
    const size_t length = fread(chars, 1, MOST, opened);
    fclose(opened);
    assert_true(length > 0 && length < MOST);
    return chars;
}

struct fixture fixtures[FIXTURES];

int fixtures_open(void **state) {
    (void)state;
    for (size_t i = 0; i < FIXTURES; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s.txt", names[i]);
        fixtures[i] =
            (struct fixture){.name = names[i], .facts = fixtures_read(CLATTN_TEST_DATA, file)};
        if (!device_parse(&fixtures[i].device, fixtures[i].facts)) {
            fail_msg("%s does not parse", file);
        }
    }
    return 0;
}

int fixtures_close(void **state) {
    (void)state;
    for (size_t i = 0; i < FIXTURES; i++) {
        free(fixtures[i].facts);
        fixtures[i].facts = NULL;
    }
    return 0;
}

const struct fixture *fixtures_find(const char *name) {
    for (size_t i = 0; i < FIXTURES; i++) {
        if (strcmp(fixtures[i].name, name) == 0) {
            return &fixtures[i];
        }
    }
    fail_msg("there is no fixture %s", name);
    return NULL;
}

struct problem fixtures_problem(const char *words) {
    clattn_desc desc = CLATTN_DESC_INIT;
    struct status status = {0};
    struct problem p = {.type = CLATTN_F32};
    if (clattn_desc_parse(words, &desc) != CL_SUCCESS ||
        problem_from_desc(&p, &desc, &status) != CL_SUCCESS) {
        fail_msg("no problem: %s", words);
    }
    status_destroy(&status);
    return p;
}

/* cl/fwd_tile.cl: what divides what, and the tiles that it draws. */
static bool tile_runnable(const struct problem *p, const struct device *d, const struct variant *v,
                          struct text *why) {
    const long long m = variant_number(v, "BLOCK_M", -1), n = variant_number(v, "BLOCK_N", -1);
    const long long slice = variant_number(v, "BLOCK_D", -1);
    const long long threads_m = variant_number(v, "THREADS_M", -1);
    const long long threads_n = variant_number(v, "THREADS_N", -1);
    const long long threads_d = variant_number(v, "THREADS_D", -1);
    const long long resident = variant_number(v, "Q_RESIDENT", -1);
    const long long prefetch = variant_number(v, "PREFETCH", -1);
    if (m < 1 || n < 1 || slice < 1 || threads_m < 1 || threads_n < 1 || threads_d < 1 ||
        threads_d > 2 || resident < 0 || resident > 1 || prefetch < 0 || prefetch > 1 ||
        variant_number(v, "STEP_UNROLL", -1) < 1) {
        text_printf(why, "a parameter is missing or makes no sense");
        return false;
    }
    if (m % (threads_m * threads_d) || n % 4 || n % threads_n ||
        (threads_d == 2 && n % (4 * threads_n)) || slice % (4 * threads_n * threads_d)) {
        text_printf(why, "the work-items do not divide the block");
        return false;
    }
    const long long slices = resident ? ((long long)p->head_dim + slice - 1) / slice : 1;
    const long long tile_q = slices * m * (slice + 4), tile_kv = n * (slice + 4);
    const long long tile_p = m * (n + (threads_n == 8 ? 8 : 4)), tile_m = m * threads_n;
    const long long tile_r = m, tile_odd = 1;
    const long long bytes = 4 * (tile_q + tile_kv + tile_p + tile_m + tile_r + tile_odd);
    if (bytes > (long long)d->local_memory) {
        text_printf(why, "%lld bytes of local memory", bytes);
        return false;
    }
    return true;
}

/* cl/bwd_tile_kv.cl, cl/bwd_tile_q.cl: likewise, for the parameters that begin with `prefix`.  own:
 * M or N, what a work-group owns; the other one is met. */
static bool tile_half_runnable(const struct problem *p, const struct device *d,
                               const struct variant *v, const char *prefix, char own,
                               struct text *why) {
    static const char *const words[] = {"BLOCK_M",       "BLOCK_N",    "BLOCK_D",
                                        "THREADS_M",     "THREADS_N",  "OWN_RESIDENT",
                                        "SUMS_RESIDENT", "STEP_UNROLL"};
    enum { M, N, SLICE, THREADS_M, THREADS_N, OWN, SUMS, UNROLL, WORDS };
    long long n[WORDS];
    for (size_t i = 0; i < WORDS; i++) {
        char name[VARIANT_WORD];
        snprintf(name, sizeof name, "%s_%s", prefix, words[i]);
        n[i] = variant_number(v, name, -1);
        if (n[i] < (i != OWN && i != SUMS) || ((i == OWN || i == SUMS) && n[i] > 1)) {
            text_printf(why, "%s is missing or makes no sense", name);
            return false;
        }
    }
    const bool keys = own == 'N';
    const long long owned = keys ? n[N] : n[M], met = keys ? n[M] : n[N];
    const long long across = keys ? n[THREADS_M] : n[THREADS_N];
    if (owned % (keys ? n[THREADS_N] : n[THREADS_M]) || met % 4 || met % across ||
        n[SLICE] % (4 * across)) {
        text_printf(why, "%s: the work-items do not divide the block", prefix);
        return false;
    }
    const long long row = n[SLICE] + 4;
    const long long slices = ((long long)p->head_dim + n[SLICE] - 1) / n[SLICE] +
                             ((long long)p->head_dim_v + n[SLICE] - 1) / n[SLICE];
    const long long tile_own = (n[OWN] ? slices : 1) * owned * row, tile_met = met * row;
    const long long tile_p = owned * (met + (across == 8 ? 8 : 4));
    const long long tile_slope = !keys ? 0 : p->softcap != 0 ? tile_p : 1;
    const long long bytes = 4 * (tile_own + tile_met + tile_p + tile_slope + 2 * n[M]);
    if (bytes > (long long)d->local_memory) {
        text_printf(why, "%s: %lld bytes of local memory", prefix, bytes);
        return false;
    }
    return true;
}

/* The number that a part defines. */
static long long part_number(const struct source *part, const char *word) {
    struct text line = {0};
    text_printf(&line, "#define %s ", word);
    const char *at = strstr(part->text, text_chars(&line));
    if (!at) {
        fail_msg("%s does not define %s", part->name, word);
    }
    const long long number = atoll(at + line.length);
    text_destroy(&line);
    return number;
}

bool fixtures_engine(const struct device *d, const char *name, struct fixtures_engine *engine) {
    struct text file = {0};
    text_printf(&file, "engine_%s.cl", name ? name : d->matrix);
    const struct source *part = sources_find(text_chars(&file));
    text_destroy(&file);
    if (!part) {
        return false;
    }
    engine->lanes = part_number(part, "ENGINE_LANES");
    engine->queries = part_number(part, "ENGINE_QUERIES");
    /* Registers hold 128 sums of O of a lane, beside the scores. */
    engine->most_dim_v = 128 * engine->lanes / engine->queries;
    engine->most_dim_v = engine->most_dim_v < 256 ? engine->most_dim_v : 256;
    return true;
}

/* One kernel over an engine: the variant's parameters with that prefix. */
struct mma_shape {
    long long waves, fragments, n, stages;
};

static struct mma_shape mma_shape(const struct variant *v, const char *prefix) {
    static const char *const words[] = {"WAVES", "ROW_FRAGMENTS", "BLOCK_N", "STAGES"};
    long long numbers[4];
    for (size_t i = 0; i < 4; i++) {
        struct text name = {0};
        text_printf(&name, "%s%s", prefix, words[i]);
        numbers[i] = variant_number(v, text_chars(&name), -1);
        text_destroy(&name);
    }
    return (struct mma_shape){numbers[0], numbers[1], numbers[2], numbers[3]};
}

static bool mma_sensible(const struct mma_shape *shape) {
    return shape->waves >= 1 && shape->fragments >= 1 && shape->n >= 16 && shape->n % 16 == 0;
}

/* cl/fwd_mma.cl and its engines: three tiles, rows 8 elements longer than their contents.
 * cl/bwd_mma_q.cl, cl/bwd_mma_kv.cl: two tiles, and two for each stage. */
static bool mma_runnable(const struct problem *p, const struct device *d, const struct variant *v,
                         struct text *why) {
    const char *name = variant_find(v, "ENGINE");
    const bool backward = strcmp(v->solver, "bwd_mma") == 0;
    struct fixtures_engine engine;
    struct mma_shape shapes[] = {mma_shape(v, backward ? "Q_" : ""),
                                 mma_shape(v, backward ? "KV_" : "")};
    const long long together = variant_number(v, "TOGETHER", backward ? -1 : 0);
    if (!name || !fixtures_engine(d, name, &engine) || !mma_sensible(&shapes[0]) ||
        !mma_sensible(&shapes[1]) || variant_number(v, "FAST_LOADS", -1) != 1 ||
        variant_number(v, "EMULATED", -1) != 0 || together < 0 || together > 1 ||
        (backward && (shapes[0].stages < 1 || shapes[1].stages < 1))) {
        text_printf(why, "a parameter is missing or makes no sense");
        return false;
    }
    if (strcmp(name, "plain") != 0 && !strstr(d->matrix, name)) {
        text_printf(why, "an engine that is not there");
        return false;
    }
    const long long row_k = ((long long)p->head_dim + 15) / 16 * 16 + 8;
    const long long row_v = ((long long)p->head_dim_v + 15) / 16 * 16 + 8;
    for (size_t i = 0; i < 2; i++) {
        const struct mma_shape *s = &shapes[i];
        const long long rows = s->waves * s->fragments * engine.queries;
        const long long bytes =
            backward ? 2 * (rows + s->stages * s->n) * (row_k + row_v) + 4 * s->waves +
                           (i == 1 ? 8 * s->stages * s->n : 0)
                     : 2 * (rows * (row_k > row_v ? row_k : row_v) + s->n * (row_k + row_v)) +
                           4 * s->waves + 64;
        if (p->type == CLATTN_F32 || bytes > (long long)d->local_memory) {
            text_printf(why, "%lld bytes of local memory", bytes);
            return false;
        }
    }
    return true;
}

/* cl/fwd_wgmma.cl: rings of K and V, slabs of 64 elements, 65,536 registers. */
static bool wgmma_runnable(const struct problem *p, const struct device *d, const struct variant *v,
                           struct text *why) {
    const long long m = variant_number(v, "BLOCK_M", -1), n = variant_number(v, "BLOCK_N", -1);
    const long long stages = variant_number(v, "STAGES", -1),
                    turns = variant_number(v, "TURNS", -1);
    if (m < 64 || m > 192 || m % 64 || n < 16 || n > 256 || n % 16 || stages < 2 || turns < 0 ||
        turns > 1 || variant_number(v, "GROUPS", -1) < 1 || p->type == CLATTN_F32 ||
        strcmp(d->architecture, "nvidia/9.0") != 0) {
        text_printf(why, "a parameter is missing or makes no sense");
        return false;
    }
    const long long row_k = ((long long)p->head_dim + 63) / 64 * 64;
    const long long row_v = ((long long)p->head_dim_v + 63) / 64 * 64;
    const long long bytes =
        2 * (m * row_k + stages * n * (row_k + row_v)) + 8 * (2 + 5 * stages) + 160;
    const long long floats = n / 2 + n / 4 + row_v / 2, left = m == 192 ? 160 : 232;
    if (bytes > (long long)d->local_memory || floats + 24 > left) {
        text_printf(why, "%lld bytes of local memory, %lld registers", bytes, floats);
        return false;
    }
    return true;
}

/* cl/fwd_lanes.cl. */
static bool lanes_runnable(const struct variant *v, struct text *why) {
    const long long lanes = variant_number(v, "LANES", -1);
    const long long keys = variant_number(v, "BLOCK_N", -1),
                    unroll = variant_number(v, "KEY_UNROLL", -1);
    if ((lanes != 4 && lanes != 8 && lanes != 16) || variant_number(v, "ROW_VECTORS", -1) < 1 ||
        variant_number(v, "COL_UNROLL", -1) < 1 || unroll < 1 || keys < 1 || keys % unroll) {
        text_printf(why, "a parameter is missing or makes no sense");
        return false;
    }
    return true;
}

/* cl/dec_lanes.cl, cl/split.cl. */
static bool dec_lanes_runnable(const struct variant *v, struct text *why) {
    const long long lanes = variant_number(v, "LANES", -1), rows = variant_number(v, "ROWS", -1),
                    unroll = variant_number(v, "ROW_UNROLL", -1),
                    keys = variant_number(v, "BLOCK_N", -1), part = variant_number(v, "PART_N", -1);
    if ((lanes != 4 && lanes != 8 && lanes != 16) || unroll < 1 || lanes % unroll || rows < 1 ||
        rows % unroll || keys < 1 || keys % lanes || part < 1 || part % keys) {
        text_printf(why, "a parameter is missing or makes no sense");
        return false;
    }
    return true;
}

/* cl/lanes_products.cl. */
static bool bwd_lanes_runnable(const struct variant *v, struct text *why) {
    static const char *const sizes[] = {"VECTORS", "TILE_ROWS", "DOT_UNROLL", "SUM_UNROLL"};
    const long long lanes = variant_number(v, "LANES", -1);
    bool good = (lanes == 4 || lanes == 8 || lanes == 16) && variant_find(v, "SWEEP");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        good = good && variant_number(v, sizes[i], -1) >= 1;
    }
    if (!good) {
        text_printf(why, "a parameter is missing or makes no sense");
    }
    return good;
}

/* cl/standard_softmax.cl, cl/bwd_standard_weigh.cl. */
static bool softmax_runnable(const struct device *d, const struct variant *v, bool backward,
                             struct text *why) {
    const long long group = variant_number(v, "WORK_GROUP", -1),
                    lanes = variant_number(v, "LANES", -1);
    const bool power = group > 0 && (group & (group - 1)) == 0;
    if (!power || lanes < 1 || 16 % lanes || !variant_find(v, "SOFTMAX") != backward ||
        (!backward && 4 * group > (long long)d->local_memory)) {
        text_printf(why, "a parameter is missing or makes no sense");
        return false;
    }
    return true;
}

/* Launches of the whole problem, and of one row: whole groups that the device can run. */
static bool launches(const struct solver *solver, const struct problem *p, const struct device *d,
                     const struct variant *v, struct text *why) {
    const struct params whole = {
        .batch = (cl_int)(p->batch ? p->batch : 1),
        .heads_q = (cl_int)p->heads_q,
        .group = (cl_int)(p->heads_q / p->heads_kv),
        .seq_q = (cl_int)(p->seq_q ? p->seq_q : 1),
        .seq_kv = (cl_int)(p->seq_kv ? p->seq_kv : 1),
    };
    const struct params one = {.batch = 1, .heads_q = 1, .group = 1, .seq_q = 1, .seq_kv = 1};
    const struct params *const asked[] = {&whole, &one};
    long long values[VARIANT_PARAMETERS];
    struct stage stages[STAGES];
    const size_t count = solver->stages(v, stages);
    solvers_decode(solver, v, values);
    for (size_t i = 0; i < 2 * count; i++) {
        const struct ndrange range = launch_range(&stages[i / 2], values, asked[i % 2]);
        for (size_t axis = 0; axis < 2; axis++) {
            if (range.local[axis] == 0 || range.global[axis] == 0 ||
                range.global[axis] % range.local[axis]) {
                text_printf(why, "kernel %zu: a grid of %llu in groups of %zu", i / 2,
                            (unsigned long long)range.global[axis], range.local[axis]);
                return false;
            }
        }
        if (range.local[0] > d->work_items || range.local[0] * range.local[1] > d->work_group) {
            text_printf(why, "kernel %zu: work-groups of %zu x %zu", i / 2, range.local[0],
                        range.local[1]);
            return false;
        }
    }
    return true;
}

bool fixtures_runnable(const struct solver *solver, const struct problem *p, const struct device *d,
                       const struct variant *v, struct text *why) {
    const bool tile = variant_find(v, "THREADS_M"), vectors = variant_find(v, "ROW_VECTORS");
    if (strcmp(v->solver, solver->name) != 0) {
        text_printf(why, "the variant is one of %s", v->solver);
        return false;
    }
    if (strcmp(solver->name, "fwd_tile") == 0 || tile) {
        if (!tile_runnable(p, d, v, why)) {
            return false;
        }
    } else if (strcmp(solver->name, "bwd_lanes") == 0) {
        if (!bwd_lanes_runnable(v, why)) {
            return false;
        }
    } else if (strcmp(solver->name, "bwd_tile") == 0) {
        if (!tile_half_runnable(p, d, v, "DKV", 'N', why) ||
            !tile_half_runnable(p, d, v, "DQ", 'M', why)) {
            return false;
        }
    } else if (strcmp(solver->name, "dec_lanes") == 0) {
        if (!dec_lanes_runnable(v, why)) {
            return false;
        }
    } else if (strcmp(solver->name, "fwd_lanes") == 0 || vectors) {
        if (!lanes_runnable(v, why)) {
            return false;
        }
    } else if (strcmp(solver->name, "fwd_mma") == 0 || strcmp(solver->name, "bwd_mma") == 0) {
        if (!mma_runnable(p, d, v, why)) {
            return false;
        }
    } else if (strcmp(solver->name, "fwd_wgmma") == 0) {
        if (!wgmma_runnable(p, d, v, why)) {
            return false;
        }
    } else if (strstr(solver->name, "standard")) {
        if (!softmax_runnable(d, v, solver->pass == CLATTN_BACKWARD, why)) {
            return false;
        }
    } else if (strcmp(solver->name, "fwd_rows") != 0 && strcmp(solver->name, "bwd_rows") != 0) {
        text_printf(why, "there is no way to tell for %s: teach fixtures.c", solver->name);
        return false;
    }
    return launches(solver, p, d, v, why);
}
