/* One case: launches, and what their outputs must be. */
#include "attention.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blocks.h"
#include "reference.h"

struct outcome {
    unsigned char *o; /* dense, as stored */
    float *lse;
    size_t o_count, lse_count;
};

struct run {
    const struct attention_case *given;
    struct tensors tensors;
    struct outcome clean;
};

/* ---- One launch ---- */

static void outcome_free(struct outcome *outcome) {
    free(outcome->o);
    free(outcome->lse);
    *outcome = (struct outcome){0};
}

/* Runs what the images hold.  False when a byte was written that is not the
 * outputs'; outcome is to be freed either way. */
static bool launch(struct run *run, struct outcome *outcome) {
    cl_command_queue queue = run->given->queue;
    cl_event uploads[TENSORS_MEMORIES], done = NULL;
    cl_uint upload_count;
    struct tensors_args slots;
    tensors_upload(&run->tensors, queue, uploads, &upload_count);
    tensors_arguments(&run->tensors, run->given->scale, &slots);
    cl_int status = clattn_enqueue_forward(run->given->plan, queue, &slots.args, upload_count,
                                           upload_count ? uploads : NULL, &done);
    if (status != CL_SUCCESS)
        fail_msg("enqueue: %s", clattn_status_name(status));
    assert_int_equal(clWaitForEvents(1, &done), CL_SUCCESS);
    tensors_download(&run->tensors, queue, done);
    clReleaseEvent(done);
    for (cl_uint i = 0; i < upload_count; i++)
        clReleaseEvent(uploads[i]);
    outcome->o = tensors_take(&run->tensors, TENSOR_O, &outcome->o_count);
    outcome->lse = tensors_take(&run->tensors, TENSOR_LSE, &outcome->lse_count);
    return tensors_intact(&run->tensors);
}

/* Is o the reference, rounded to the type?  If not, says where. */
static bool exactly(const clattn_desc *desc, const struct reference *expected, const float *o) {
    const size_t dim = desc->head_dim_v;
    const size_t count = (size_t)desc->batch * desc->heads_q * desc->seq_q * dim;
    const clattn_type type = reference_types(desc).o;
    for (size_t i = 0; i < count; i++) {
        const double right = reference_round(type, expected->o[i]);
        if ((double)o[i] == right)
            continue;
        fprintf(stderr, "o of row %zu, column %zu is %.9g and not exactly %.9g\n", i / dim, i % dim,
                (double)o[i], right);
        return false;
    }
    return true;
}

static bool close_to_reference(struct run *run, struct compare_result *result) {
    const clattn_desc *desc = &run->tensors.live;
    const clattn_type type = run->tensors.view[TENSOR_O].type;
    size_t size = reference_type_size(type);
    float *o = malloc((run->clean.o_count + 1) * sizeof *o);
    assert_non_null(o);
    for (size_t i = 0; i < run->clean.o_count; i++)
        o[i] = (float)reference_decode(type, run->clean.o + i * size);

    struct reference expected;
    float *const *data = run->tensors.data;
    const struct reference_extras extras = tensors_extras(&run->tensors);
    reference_forward_with(desc, run->given->scale, data[TENSOR_Q], data[TENSOR_K], data[TENSOR_V],
                           &extras, &expected);
    bool ok =
        compare_forward(desc, &expected, o, run->tensors.what.lse ? run->clean.lse : NULL, result);
    if (result->ill_rows != run->given->demands.ill_rows) {
        fprintf(stderr, "%zu of %zu rows are ill-conditioned, and the case says %u\n",
                result->ill_rows, result->rows, run->given->demands.ill_rows);
        ok = false;
    }
    if (run->given->demands.exact)
        ok = exactly(desc, &expected, o) && ok;
    reference_free(&expected);
    free(o);
    return ok;
}

/* ---- Same bits ---- */

/* Row is (batch * heads + head) * seq_q + query; column is -1 for lse. */
static void report(const struct run *run, const char *what, size_t row, long column, double value,
                   const char *expected) {
    const clattn_desc *desc = &run->tensors.live;
    size_t head = row / desc->seq_q;
    fprintf(stderr, "%s: ", what);
    if (column < 0)
        fprintf(stderr, "lse");
    else
        fprintf(stderr, "o column %ld", column);
    fprintf(stderr, " of [batch %zu, head %zu, query %zu] is %.9g, expected %s\n",
            head / desc->heads_q, head % desc->heads_q, row % desc->seq_q, value, expected);
}

enum demand { SAME_BITS, NOT_A_NUMBER, NOT_FINITE, ANYTHING };

static bool meets(enum demand demand, const void *value, const void *clean, clattn_type type) {
    double number = reference_decode(type, value);
    return demand == ANYTHING || (demand == NOT_A_NUMBER && isnan(number)) ||
           (demand == NOT_FINITE && !isfinite(number)) ||
           (demand == SAME_BITS && memcmp(value, clean, reference_type_size(type)) == 0);
}

/* What each element of a row must be, compared to the clean run. */
struct demands {
    enum demand o, lse;
    cl_uint column;   /* the one that o is about, if only one; */
    cl_uint columns;  /* or so many that share a block with it; 0: it alone */
    bool only_column; /* the others: SAME_BITS */
};

static bool row_meets(const struct run *run, const struct outcome *outcome, size_t row,
                      const struct demands *demands, const char *what) {
    static const char *const words[] = {"the bits of the clean run", "NaN", "NaN or Inf", ""};
    const clattn_desc *desc = &run->tensors.live;
    const clattn_type type = run->tensors.view[TENSOR_O].type;
    size_t size = reference_type_size(type);
    for (cl_uint d = 0; d < desc->head_dim_v; d++) {
        size_t at = (row * desc->head_dim_v + d) * size;
        const cl_uint width = demands->columns ? demands->columns : 1;
        const bool other = demands->only_column && d / width != demands->column / width;
        enum demand demand = other ? SAME_BITS : demands->o;
        if (!meets(demand, outcome->o + at, run->clean.o + at, type)) {
            report(run, what, row, (long)d, reference_decode(type, outcome->o + at), words[demand]);
            return false;
        }
    }
    if (run->tensors.what.lse &&
        !meets(demands->lse, &outcome->lse[row], &run->clean.lse[row], CLATTN_F32)) {
        report(run, what, row, -1, (double)outcome->lse[row], words[demands->lse]);
        return false;
    }
    return true;
}

static bool same_bits(struct run *run, enum tensors_fill fill, const char *what) {
    const struct demands demands = {.o = SAME_BITS, .lse = SAME_BITS};
    struct outcome outcome;
    tensors_fill(&run->tensors, fill);
    bool ok = launch(run, &outcome);
    if (!ok)
        fprintf(stderr, "%s\n", what);
    const clattn_desc *desc = &run->tensors.live;
    size_t rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;
    for (size_t row = 0; ok && row < rows; row++)
        ok = row_meets(run, &outcome, row, &demands, what);
    outcome_free(&outcome);
    return ok;
}

/* ---- One bad element ---- */

static const struct probe {
    const char *what;
    enum tensors_name tensor;
    double value;
    struct demands demands; /* on the queries that see it; column is set later */
    unsigned where;         /* its column: 0 the first, 1 the middle, 2 the last */
} probes[] = {
    {"NaN in one q", TENSOR_Q, NAN, {.o = NOT_A_NUMBER, .lse = NOT_A_NUMBER}, 1},
    {"NaN in one k", TENSOR_K, NAN, {.o = NOT_A_NUMBER, .lse = NOT_A_NUMBER}, 1},
    {"Inf in one k", TENSOR_K, INFINITY, {.o = ANYTHING, .lse = ANYTHING}, 1},
    {"NaN in one v", TENSOR_V, NAN, {.o = NOT_A_NUMBER, .lse = SAME_BITS, .only_column = true}, 2},
    {"Inf in one v",
     TENSOR_V,
     INFINITY,
     {.o = NOT_FINITE, .lse = SAME_BITS, .only_column = true},
     0},
};

static bool sees(const struct run *run, size_t head, cl_uint query, cl_uint key) {
    const struct reference_extras extras = tensors_extras(&run->tensors);
    return reference_head_sees(&run->tensors.live, &extras, head, query, key);
}

static cl_uint count_seeing(const struct run *run, size_t head, bool keys, cl_uint index) {
    const clattn_desc *desc = &run->tensors.live;
    cl_uint count = 0;
    cl_uint others = keys ? desc->seq_q : desc->seq_kv;
    for (cl_uint other = 0; other < others; other++)
        count += keys ? sees(run, head, other, index) : sees(run, head, index, other);
    return count;
}

/* A row that takes part, best a key that some queries see and others do not. */
static bool choose_row(const struct run *run, size_t head, bool keys, cl_uint *chosen) {
    const clattn_desc *desc = &run->tensors.live;
    cl_uint rows = keys ? desc->seq_kv : desc->seq_q;
    bool found = false;
    for (cl_uint i = 0; i < rows; i++) {
        cl_uint row = (rows / 2 + i) % rows;
        cl_uint seeing = count_seeing(run, head, keys, row);
        if (seeing && !found) {
            *chosen = row;
            found = true;
        }
        if (keys && seeing && seeing < desc->seq_q) {
            *chosen = row;
            break;
        }
    }
    return found;
}

/* Columns that a bad number spoils. */
static cl_uint columns_of(const struct tensors_view *view) {
    return blocks_has(view->type) ? BLOCKS_ELEMENTS : 1;
}

static bool bad_element(struct run *run, const struct probe *probe) {
    const struct demands untouched = {.o = SAME_BITS, .lse = SAME_BITS};
    const clattn_desc *desc = &run->tensors.live;
    const struct tensors_view *view = &run->tensors.view[probe->tensor];
    bool keys = probe->tensor != TENSOR_Q;
    cl_uint bad_row = 0;
    if (!desc->batch)
        return true;
    const cl_uint bad_batch = desc->batch - 1, bad_head = view->heads / 2;
    const cl_uint bad_of_q = keys ? bad_head * (desc->heads_q / desc->heads_kv) : bad_head;
    if (!choose_row(run, (size_t)bad_batch * desc->heads_q + bad_of_q, keys, &bad_row))
        return true;
    struct demands demands = probe->demands;
    demands.column = (view->dim - 1) * probe->where / 2;
    demands.columns = columns_of(view);

    struct outcome outcome;
    tensors_fill(&run->tensors, FILL_ZERO);
    size_t bad_at = tensors_at(view, bad_batch, bad_head, bad_row, demands.column);
    blocks_spoil(view->type, probe->value, view->memory->image + bad_at, 0);
    bool ok = launch(run, &outcome);
    if (!ok)
        fprintf(stderr, "%s\n", probe->what);
    size_t rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;
    for (size_t row = 0; ok && row < rows; row++) {
        cl_uint query = (cl_uint)(row % desc->seq_q);
        cl_uint head = (cl_uint)(row / desc->seq_q % desc->heads_q);
        cl_uint batch = (cl_uint)(row / desc->seq_q / desc->heads_q);
        /* Broadcast keys are shared: what counts is the place, not the index. */
        cl_uint head_read = keys ? head / (desc->heads_q / desc->heads_kv) : head;
        size_t at = tensors_at(view, batch, head_read, bad_row, demands.column);
        const bool meant = at == bad_at &&
                           (keys ? sees(run, row / desc->seq_q, query, bad_row) : query == bad_row);
        ok = row_meets(run, &outcome, row, meant ? &demands : &untouched, probe->what);
    }
    outcome_free(&outcome);
    return ok;
}

/* ---- A row beyond what is legal ---- */

/* The largest number, or its negative, all along one row of q. */
static bool overflowing_row(struct run *run, double sign) {
    static const double largest[] = {
        [CLATTN_F32] = FLT_MAX, [CLATTN_F16] = 65504, [CLATTN_BF16] = 0x1.fep127};
    static const struct demands untouched = {.o = SAME_BITS, .lse = SAME_BITS};
    static const struct demands overflown = {.o = NOT_FINITE, .lse = NOT_FINITE};
    const char *what = sign < 0 ? "a row of q at -max" : "a row of q at max";
    const clattn_desc *desc = &run->tensors.live;
    const struct tensors_view *view = &run->tensors.view[TENSOR_Q];
    cl_uint bad_row = 0;
    if (!desc->batch)
        return true;
    const cl_uint bad_batch = desc->batch - 1, bad_head = view->heads / 2;
    if (!choose_row(run, (size_t)bad_batch * desc->heads_q + bad_head, false, &bad_row))
        return true;

    struct outcome outcome;
    tensors_fill(&run->tensors, FILL_ZERO);
    for (cl_uint d = 0; d < view->dim; d++)
        reference_encode(view->type, sign * largest[view->type],
                         view->memory->image + tensors_at(view, bad_batch, bad_head, bad_row, d));
    bool ok = launch(run, &outcome);
    if (!ok)
        fprintf(stderr, "%s\n", what);
    size_t rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;
    size_t bad = ((size_t)bad_batch * desc->heads_q + bad_head) * desc->seq_q + bad_row;
    for (size_t row = 0; ok && row < rows; row++)
        ok = row_meets(run, &outcome, row, row == bad ? &overflown : &untouched, what);
    outcome_free(&outcome);
    return ok;
}

/* ---- Many bad elements ---- */

enum { BAD = 24 };
enum { BAD_NAN = 1, BAD_INF = 2, BAD_MINUS_INF = 4 };

struct bad {
    cl_uint batch, head, row, column;
    unsigned kind;
};

/* Scattered over V, none twice, nor two in a block; how many. */
static unsigned scatter(const struct tensors_view *view, struct bad list[BAD]) {
    const cl_uint width = columns_of(view);
    unsigned count = 0;
    for (unsigned i = 0; i < BAD; i++) {
        const unsigned many = i * 2654435761u; /* Knuth's multiplicative hash */
        const struct bad bad = {i % view->batch, i / 2 % view->heads, (many >> 8) % view->rows,
                                (many >> 20) % view->dim, 1u << i % 3};
        bool known = false;
        for (unsigned j = 0; j < count; j++)
            known |= list[j].batch == bad.batch && list[j].head == bad.head &&
                     list[j].row == bad.row && list[j].column / width == bad.column / width;
        if (!known)
            list[count++] = bad;
    }
    return count;
}

/* What a row sees of them in a column. */
static unsigned kinds_seen(const struct run *run, const struct bad *list, unsigned count,
                           size_t row, cl_uint column, cl_uint width) {
    const clattn_desc *desc = &run->tensors.live;
    cl_uint query = (cl_uint)(row % desc->seq_q);
    cl_uint head = (cl_uint)(row / desc->seq_q % desc->heads_q);
    cl_uint batch = (cl_uint)(row / desc->seq_q / desc->heads_q);
    unsigned kinds = 0;
    for (unsigned i = 0; i < count; i++)
        if (list[i].column / width == column / width && list[i].batch == batch &&
            list[i].head == head / (desc->heads_q / desc->heads_kv) &&
            sees(run, row / desc->seq_q, query, list[i].row))
            kinds |= list[i].kind;
    return kinds;
}

static bool bad_elements(struct run *run) {
    static const char *const words[] = {"the bits of the clean run", "NaN", "NaN or Inf"};
    const clattn_desc *desc = &run->tensors.live;
    const struct tensors_view *view = &run->tensors.view[TENSOR_V];
    const struct demands untouched = {.o = ANYTHING, .lse = SAME_BITS};
    struct bad list[BAD];
    /* Broadcast keys are shared: others than those of the list would see them. */
    if (!desc->batch || !desc->seq_kv || run->given->tensors.layout == LAYOUT_BROADCAST)
        return true;
    const unsigned count = scatter(view, list);
    struct outcome outcome;
    tensors_fill(&run->tensors, FILL_ZERO);
    for (unsigned i = 0; i < count; i++) {
        const double value = list[i].kind == BAD_NAN   ? NAN
                             : list[i].kind == BAD_INF ? INFINITY
                                                       : -INFINITY;
        blocks_spoil(view->type, value,
                     view->memory->image +
                         tensors_at(view, list[i].batch, list[i].head, list[i].row, list[i].column),
                     0);
    }
    bool ok = launch(run, &outcome);
    if (!ok)
        fprintf(stderr, "many bad elements of v\n");
    const clattn_type type = run->tensors.view[TENSOR_O].type;
    const size_t size = reference_type_size(type);
    const size_t rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;
    const cl_uint width = columns_of(view);
    /* A scale of Inf gives elements of either sign, and NaN of integers that are 0. */
    for (size_t row = 0; ok && row < rows; row++) {
        for (cl_uint d = 0; ok && d < desc->head_dim_v; d++) {
            const unsigned kinds = kinds_seen(run, list, count, row, d, width);
            const bool sure = kinds & BAD_NAN || (width == 1 && kinds == (BAD_INF | BAD_MINUS_INF));
            const enum demand demand = kinds == 0 ? SAME_BITS : sure ? NOT_A_NUMBER : NOT_FINITE;
            const size_t at = (row * desc->head_dim_v + d) * size;
            const double x = reference_decode(type, outcome.o + at);
            ok = meets(demand, outcome.o + at, run->clean.o + at, type) &&
                 !(demand == NOT_FINITE && width == 1 && isinf(x) && (x > 0) != (kinds == BAD_INF));
            if (!ok)
                report(run, "many bad elements of v", row, (long)d, x, words[demand]);
        }
        ok = ok && row_meets(run, &outcome, row, &untouched, "many bad elements of v");
    }
    outcome_free(&outcome);
    return ok;
}

/* ---- All of it ---- */

static bool right(struct run *run, struct compare_result *result) {
    tensors_fill(&run->tensors, FILL_ZERO);
    bool ok = launch(run, &run->clean) && close_to_reference(run, result);
    if (!ok || run->given->demands.once)
        return ok;
    ok = same_bits(run, FILL_ZERO, "second run");
    for (int fill = FILL_ZERO + 1; ok && fill < FILL_COUNT; fill++) {
        char what[64];
        snprintf(what, sizeof what, "filled with %s", tensors_fill_names[fill]);
        ok = same_bits(run, (enum tensors_fill)fill, what);
    }
    for (size_t i = 0; ok && i < sizeof probes / sizeof *probes; i++)
        ok = bad_element(run, &probes[i]);
    if (run->given->demands.overflow)
        ok = ok && overflowing_row(run, 1) && overflowing_row(run, -1);
    return ok && bad_elements(run);
}

bool attention_right(const struct attention_case *given, struct compare_result *result) {
    struct run run = {.given = given};
    *result = (struct compare_result){0};
    tensors_make(&run.tensors, &given->tensors, given->scale, given->context);
    bool ok = right(&run, result);
    outcome_free(&run.clean);
    tensors_free(&run.tensors);
    return ok;
}
