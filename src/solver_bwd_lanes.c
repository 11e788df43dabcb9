/*
 * bwd_lanes - for CPU devices: SIMD lanes over keys, or query rows.
 *
 * SWEEP=n: the keys of a head in n parts, each of which is one work-item that sums d_q on its way
 * (cl/bwd_lanes_sweep.cl): five products.  It needs n heads of f32 in the workspace beside each
 * head of d_q, and work-items for all compute units; it is the fastest where it has them.
 * SWEEP=0: d_k and d_v by block of keys, and d_q by block of rows (cl/bwd_lanes_kv.cl,
 * cl/bwd_lanes_q.cl): seven products, no workspace but delta, as many work-items as blocks.
 */
#include "size.h"
#include "solvers.h"

enum { SEGMENT_KEYS = 4096 }; /* GRAD_SEGMENT of cl/grad.cl */

enum { SWEEP_MOST = 16 };
static const cl_ulong most_sums = (cl_ulong)1
                                  << 30; /* bytes that the formula spends on d_q's sums */
enum { WORK_GROUP, SWEEP, LANES, VECTORS, TILE_ROWS, DOT_UNROLL, SUM_UNROLL };

static const struct solver_parameter parameters[] = {
    SOLVERS_NUMBER_OF(WORK_GROUP, 1, 1024, "16 64"), /* of delta */
    SOLVERS_NUMBER(SWEEP, 0, SWEEP_MOST),
    SOLVERS_NUMBER(LANES, 4, 16),
    SOLVERS_NUMBER_OF(VECTORS, 1, 8, "1 2 3 4 6 8"),
    SOLVERS_NUMBER(TILE_ROWS, 8, 64), /* longer sums drift, and too many short ones */
    SOLVERS_NUMBER_OF(DOT_UNROLL, 1, 16, "1 2 4 6 8 16"),
    SOLVERS_NUMBER_OF(SUM_UNROLL, 1, 16, "1 2 4 6 8 16"),
    {0},
};

/* A work-item of d_k and d_v meets the queries of the whole group. */
static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    struct problem keys = *p;
    keys.seq_kv = p->seq_q;
    const char *rows = solvers_refuse_loops(p, d, 4);
    return solvers_fitness(d->type != DEVICE_CPU ? "it is for CPU devices"
                           : rows                ? rows
                                  : solvers_refuse_loops(&keys, d, 4 * (p->heads_q / p->heads_kv)),
                           NULL, why);
}

/* About how many loop iterations a work-item of a sweep makes that has every `keys`-th key. */
static cl_ulong sweep_loops(const struct problem *p, cl_ulong keys) {
    const cl_ulong rows = size_mul_capped(p->seq_q, p->heads_q / p->heads_kv);
    return size_mul_capped(size_mul_capped(rows, size_div_up(p->seq_kv, keys)),
                           2 * ((cl_ulong)p->head_dim + p->head_dim_v + 8));
}

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    const cl_ulong block = (cl_ulong)(v[LANES] * v[VECTORS]);
    if (v[LANES] != 4 && v[LANES] != 8 && v[LANES] != 16) {
        return status_set(status, CLATTN_INVALID_VARIANT, "LANES=%lld is none of 4, 8, 16",
                          v[LANES]);
    }
    if (v[SWEEP] && d->loop_limit && sweep_loops(p, block * (cl_ulong)v[SWEEP]) > d->loop_limit) {
        return status_set(status, CLATTN_INVALID_VARIANT,
                          "SWEEP=%lld makes more loop iterations than the device's loop_limit",
                          v[SWEEP]);
    }
    return solvers_check_group(d, v[WORK_GROUP], 0, status);
}

/*
 * Into how many parts a head's keys are cut: the fewest that keep three quarters of the compute
 * units busy to the end; with less, seven products by block are faster.  Each part has four blocks
 * or more, since its sums of d_q are cleared and read once more.  0 where these sums would take
 * more than most_sums.
 */
static long long sweep_of(const struct problem *p, const struct device *d, cl_ulong block) {
    const cl_ulong heads = size_mul_capped(p->batch, p->heads_kv);
    const cl_ulong units = d->compute_units ? d->compute_units : 1;
    const cl_ulong blocks = size_div_up(p->seq_kv, block);
    const cl_ulong rows = (cl_ulong)p->batch * p->heads_q * p->seq_q; /* 2^60 at most */
    const cl_ulong copy = size_mul_capped(rows, ((cl_ulong)p->head_dim + 15) / 16 * 64);
    for (cl_ulong n = 1; n <= SWEEP_MOST && (n == 1 || 4 * n <= blocks); n++) {
        const cl_ulong items = size_mul_capped(heads, n);
        const cl_ulong copies = size_div_up(blocks, n) * block > SEGMENT_KEYS ? 2 * n : n;
        if (items / units >= 3 || 4 * items >= 3 * size_div_up(items, units) * units) {
            return size_mul_capped(copy, copies) <= most_sums ? (long long)n : 0;
        }
    }
    return 0;
}

/*
 * The choice follows from measurements on two cores with AVX-512 (PoCL 3.1, float16, 2026-11-27,
 * f32 h8 q1024 d64 causal, share of the FMA peak): four vectors by four rows 73%, in tiles of 32
 * rows 72%; two by eight 68%; four by six 72%; delta in work-groups of 16 or 64 0.5% faster.
 */
static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    const long long lanes = d->float_width >= 16 ? 16 : d->float_width >= 8 ? 8 : 4;
    const bool few = p->seq_kv <= 2 * (cl_uint)lanes;
    /* 32 vector registers hold 16 sums; 16 of them (LANES 8 and 4) hold 8. */
    const long long vectors = few ? 1 : lanes < 16 ? 2 : 4;
    const long long unroll = lanes < 16 || vectors == 4 ? 4 : 8;
    (void)given;
    v[WORK_GROUP] = i == 0 ? 16 : 1;
    v[SWEEP] = i == 0 && !d->loop_limit ? sweep_of(p, d, (cl_ulong)(lanes * vectors)) : 0;
    v[LANES] = lanes;
    v[VECTORS] = vectors;
    v[TILE_ROWS] = 64;
    v[DOT_UNROLL] = unroll;
    v[SUM_UNROLL] = unroll;
    return i < 2;
}

/* As solver_fwd_lanes.c; a part of a sweep is one work-group. */
static void needs(const struct problem *p, const struct device *d, const long long *v, size_t stage,
                  struct solver_needs *to) {
    const cl_ulong width = d->float_width, lanes = (cl_ulong)v[LANES];
    const cl_ulong vectors = (cl_ulong)v[VECTORS] * size_div_up(lanes, width);
    const long long larger = v[DOT_UNROLL] > v[SUM_UNROLL] ? v[DOT_UNROLL] : v[SUM_UNROLL];
    const double reads =
        1 / (double)vectors + 0.5 / (double)v[DOT_UNROLL] + 0.5 / (double)v[SUM_UNROLL];
    if (stage == 0 || (stage == 2 && v[SWEEP])) { /* delta, and the sums of a sweep */
        return;
    }
    to->rows = v[SWEEP] ? size_div_up(p->seq_kv ? p->seq_kv : 1, (cl_ulong)v[SWEEP])
                        : lanes * (cl_ulong)v[VECTORS];
    to->met = (cl_ulong)v[TILE_ROWS];
    to->registers = vectors * (cl_ulong)(larger + 1);
    to->reads = (1 + reads) * (width > lanes ? (double)width / (double)lanes : 1) - 1;
}

static size_t one_work_item(const long long *v) {
    (void)v;
    return 1;
}

static cl_ulong heads_kv(const struct params *params) {
    return (cl_ulong)params->batch * ((cl_ulong)params->heads_q / (cl_ulong)params->group);
}

static struct grid grid_rows(const long long *v, const struct params *params) {
    return (struct grid){size_div_up((cl_ulong)params->seq_q, (cl_ulong)(v[LANES] * v[VECTORS])),
                         (cl_ulong)params->batch * (cl_ulong)params->heads_q};
}

static struct grid grid_keys(const long long *v, const struct params *params) {
    return (struct grid){size_div_up((cl_ulong)params->seq_kv, (cl_ulong)(v[LANES] * v[VECTORS])),
                         heads_kv(params)};
}

static struct grid grid_sweep(const long long *v, const struct params *params) {
    return (struct grid){(cl_ulong)v[SWEEP], heads_kv(params)};
}

#define STAGE(name, read, write, its_grid, take, ...)                                             \
    {                                                                                             \
        .recipe = {.kernel = name,                                                                \
                   .reads = read,                                                                 \
                   .writes = write,                                                               \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl",          \
                             "score.cl", "grad.cl", "lanes.cl", "lanes_products.cl", __VA_ARGS__, \
                             name ".cl"},                                                         \
                   .takes = "LANES VECTORS TILE_ROWS DOT_UNROLL SUM_UNROLL" take,                 \
                   .constants = ""},                                                              \
        .work_items = one_work_item, .grid = its_grid,                                            \
    }

#define READS "q k v lse d_o scores workspace"

static const struct stage of_q =
    STAGE("bwd_lanes_q", READS, "d_q", grid_rows, "", "lanes_queries.cl");
static const struct stage of_kv =
    STAGE("bwd_lanes_kv", READS, "d_k d_v", grid_keys, "", "lanes_keys.cl");
static const struct stage of_all = STAGE("bwd_lanes_sweep", READS, "d_k d_v workspace", grid_sweep,
                                         " SWEEP", "lanes_parts.cl", "lanes_keys.cl");
static const struct stage of_sums =
    STAGE("bwd_lanes_join", "workspace", "d_q", grid_rows, " SWEEP", "lanes_parts.cl");

static size_t stages(const struct variant *v, struct stage *to) {
    const bool sweep = variant_number(v, "SWEEP", 0) != 0;
    to[0] = solvers_delta;
    to[1] = sweep ? of_all : of_kv;
    to[2] = sweep ? of_sums : of_q;
    return 3;
}

/* Delta; for a sweep also d_q's sums (cl/lanes_parts.cl). */
static bool workspace(const struct problem *p, const long long *v, cl_ulong *bytes) {
    const cl_ulong lanes = (cl_ulong)v[LANES], block = lanes * (cl_ulong)v[VECTORS];
    const cl_ulong sweep = (cl_ulong)v[SWEEP];
    const cl_ulong row = size_div_up(p->head_dim, lanes) * lanes * sizeof(cl_float);
    const cl_ulong rows = (cl_ulong)p->batch * p->heads_q * p->seq_q;
    solvers_delta_workspace(p, v, bytes);
    if (!sweep) {
        return true;
    }
    const bool totalled = size_div_up(size_div_up(p->seq_kv, block), sweep) * block > SEGMENT_KEYS;
    return size_add_mul(bytes, rows, row * sweep * (totalled ? 2 : 1));
}

extern const struct solver solver_bwd_lanes;
const struct solver solver_bwd_lanes = {
    .name = "bwd_lanes",
    .pass = CLATTN_BACKWARD,
    .mixed = true,
    .scored = true,
    .features = SOLVERS_HIDING | CLATTN_FEATURE_SINK,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .workspace = workspace,
    .needs = needs,
};
