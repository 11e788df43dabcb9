#include "cost.h"

#include "size.h"

/*
 * A launch takes its blocks in rounds: as many at a time as compute units have room for.  A block
 * takes what its products, reads and rescalings take, or what its bytes take, whichever is longer.
 * Few work-items on a compute unit hide no latency; more registers than there are spill.
 */

/* What the facts do not say, and so is the same for all devices of a type. */
struct rates {
    double hertz;
    double products;  /* that a compute unit forms in a cycle */
    double read;      /* one operand, in products */
    double bytes;     /* that a compute unit moves in a cycle */
    double group;     /* cycles that a work-group begins and ends in */
    double registers; /* of a work-item */
    double items;     /* of a compute unit, that hide its latencies */
    double launch;    /* seconds of each launch */
};

/* vectors: does the kernel use a CPU's? */
static struct rates rates_of(const struct device *d, bool vectors) {
    static const struct rates gpu = {1.5e9, 128, 2, 16, 1000, 200, 256, 5e-6};
    const double width = (double)d->float_width;
    const struct rates cpu = {3e9,  vectors ? 2 * width : 2, 0.25, 8,
                              2000, width < 16 ? 16 : 32,    1,    5e-6};
    return d->type == DEVICE_CPU ? cpu : gpu;
}

static double least(double a, double b) {
    return a < b ? a : b;
}

static double most(double a, double b) {
    return a > b ? a : b;
}

/* A launch: who owns rows, and who is met. */
struct sides {
    cl_ulong heads, own, met;
    cl_ulong turns;         /* query heads that a key head meets one after the other */
    double width, met_type; /* products for each pair; bytes of a row of the side that is met */
};

static double row_bytes(cl_uint width, clattn_type type) {
    return (double)width * problem_type_bytes(type) / problem_type_block(type);
}

static struct sides sides_of(const struct problem *p, cl_uint writes) {
    const bool keys = (writes & (OPERAND_BIT(OPERAND_D_K) | OPERAND_BIT(OPERAND_D_V))) != 0;
    const double width = (double)p->head_dim + p->head_dim_v;
    struct sides s = {.heads = (cl_ulong)p->batch * p->heads_q,
                      .own = p->seq_q,
                      .met = p->seq_kv,
                      .turns = 1,
                      .width = p->pass == CLATTN_BACKWARD ? 2 * width : width};
    s.met_type = row_bytes(p->head_dim, p->type_k) + row_bytes(p->head_dim_v, p->type_v);
    if (keys) {
        s.heads = (cl_ulong)p->batch * p->heads_kv;
        s.own = p->seq_kv;
        s.met = p->seq_q;
        s.turns = p->heads_q / p->heads_kv;
        s.met_type = row_bytes(p->head_dim, p->type) + row_bytes(p->head_dim_v, p->type_o);
    }
    return s;
}

/* Rows of the other side that a block of `rows` meets, in blocks of `met`: on average, as half of
 * them are hidden where a band is open to one side. */
static double rows_met(const struct problem *p, const struct sides *s, double rows, double met) {
    const double all = (double)s->met;
    double seen = all;
    if (p->band_left != CLATTN_UNBOUNDED && p->band_right != CLATTN_UNBOUNDED) {
        seen = (double)p->band_left + p->band_right + rows;
    } else if (problem_masked(p)) {
        seen = all / 2 + rows / 2;
    }
    return met > 1 ? (double)size_div_up((cl_ulong)least(seen + met / 2, all), (cl_ulong)met) * met
                   : least(seen, all);
}

/* Work-groups that a compute unit has room for. */
static double resident(const struct device *d, const struct solver_needs *needs, double items) {
    enum { REGISTERS = 65536, ITEMS = 2048, BESIDE = 32 };
    if (d->type == DEVICE_CPU) {
        return 1;
    }
    double groups = ITEMS / items;
    if (needs->local_memory) {
        groups = least(groups, (double)(d->local_memory / needs->local_memory));
    }
    if (needs->registers) {
        groups = least(groups, REGISTERS / (items * ((double)needs->registers + BESIDE)));
    }
    return groups < 1 ? 1 : (double)(cl_ulong)groups;
}

static double cost_of_stage(const struct problem *p, const struct device *d,
                            const struct stage *stage, const long long *values,
                            const struct solver_needs *needs) {
    const struct rates r = rates_of(d, needs->rows > 0);
    const struct params params = {.batch = (cl_int)p->batch,
                                  .heads_q = (cl_int)p->heads_q,
                                  .group = (cl_int)(p->heads_q / p->heads_kv),
                                  .seq_q = (cl_int)p->seq_q,
                                  .seq_kv = (cl_int)p->seq_kv};
    const struct sides s = sides_of(p, operand_set(stage->recipe.writes));
    const struct grid grid = stage->grid(values, &params);
    const double groups = (double)grid.x * (double)grid.y;
    const double items = (double)stage->work_items(values);
    const cl_uint reads = operand_set(stage->recipe.reads);
    const cl_uint writes = operand_set(stage->recipe.writes) & ~OPERAND_BIT(OPERAND_WORKSPACE);
    const bool pairs_rows = writes && (reads & OPERAND_BIT(OPERAND_K)) && groups > 0;
    if (!pairs_rows) { /* what is done once for each row, or less */
        return r.launch;
    }
    const double total = (double)s.heads * (double)s.own;
    const double rows = needs->rows ? (double)needs->rows : most(1, total / groups);
    const double blocks =
        needs->rows ? (double)s.heads * (double)size_div_up(s.own, needs->rows) : groups;
    const double met = (double)s.turns * rows_met(p, &s, rows, (double)needs->met);
    const double pairs = rows * met;
    /* Exponentials, and the sums' scaling behind each block. */
    const double other = pairs * 8 + (needs->met ? pairs / (double)needs->met : 0) * p->head_dim_v;
    const double products = pairs * s.width * (1 + r.read * (needs->reads > 0 ? needs->reads : 1)) /
                            (needs->engine > 0 ? needs->engine : 1);
    const double spilled = 1 + 4 * most(0, (double)needs->registers - r.registers) / r.registers;
    const double unit = most(1, (double)d->compute_units);
    const double room = resident(d, needs, items);
    const double together =
        least(room, most(1, (double)size_div_up((cl_ulong)blocks, (cl_ulong)unit)));
    const double hidden =
        d->type == DEVICE_CPU ? 1 : 0.1 + 0.9 * least(1, together * items / r.items);
    const double formed = (products + other) * spilled / r.products / hidden;
    const double moved = (met + rows) * s.met_type / r.bytes;
    const double rounds =
        (double)size_div_up((cl_ulong)blocks, (cl_ulong)most(1, least(groups, unit * room)));
    return r.launch + rounds * together * (most(formed, moved) + r.group) / r.hertz;
}

double cost_of(const struct solver *solver, const struct problem *p, const struct device *d,
               const struct variant *v, const long long *values) {
    const struct solver *rules = solvers_rules(solver, d, v);
    struct stage stages[STAGES];
    const size_t count = solver->stages(v, stages);
    double cost = 0;
    for (size_t i = 0; i < count; i++) {
        struct solver_needs needs = {.rows = 0};
        if (rules->needs) {
            rules->needs(p, d, values, i, &needs);
        }
        cost += cost_of_stage(p, d, &stages[i], values, &needs);
    }
    return cost;
}
