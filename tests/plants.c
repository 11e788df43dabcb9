#include "plants.h"

#include <math.h>
#include <string.h>

#include "compare.h"

static float *row_of(const struct plot *p, size_t row) {
    return p->o + row * p->s->desc.head_dim_v;
}

static size_t elements(const struct plot *p) {
    return p->s->rows * p->s->desc.head_dim_v;
}

static float at_type(const struct plot *p, double value) {
    return (float)reference_round(reference_types(&p->s->desc).o, value);
}

static void swap(float *x, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const float kept = x[i];
        x[i] = y[i];
        y[i] = kept;
    }
}

static size_t neighbour(const struct plot *p) {
    return p->row ? p->row - 1 : p->s->rows - 1;
}

static void one_nan(struct plot *p) {
    row_of(p, p->row)[p->column] = NAN;
}

static void one_inf(struct plot *p) {
    row_of(p, p->row)[p->column] = -INFINITY;
}

static void all_nan(struct plot *p) {
    for (size_t i = 0; i < elements(p); i++)
        p->o[i] = NAN;
}

static void a_row_of_zeros(struct plot *p) {
    memset(row_of(p, p->row), 0, p->s->desc.head_dim_v * sizeof *p->o);
}

static void all_zeros(struct plot *p) {
    memset(p->o, 0, elements(p) * sizeof *p->o);
}

static void half_zeros(struct plot *p) {
    memset(p->o, 0, p->s->rows / 2 * p->s->desc.head_dim_v * sizeof *p->o);
}

static void four_bounds(struct plot *p) {
    const size_t i = p->row * p->s->desc.head_dim_v + p->column;
    p->o[i] =
        at_type(p, p->s->expected.o[i] + 4 * compare_bound_o(&p->s->desc, &p->s->expected, i));
}

static void four_bounds_below(struct plot *p) {
    const size_t i = p->row * p->s->desc.head_dim_v + p->column;
    p->o[i] =
        at_type(p, p->s->expected.o[i] - 4 * compare_bound_o(&p->s->desc, &p->s->expected, i));
}

static void one_sign(struct plot *p) {
    row_of(p, p->row)[p->column] *= -1;
}

static void all_signs(struct plot *p) {
    for (size_t i = 0; i < elements(p); i++)
        p->o[i] = -p->o[i];
}

static void rows_swapped(struct plot *p) {
    swap(row_of(p, p->row), row_of(p, neighbour(p)), p->s->desc.head_dim_v);
}

static void one_head_repeated(struct plot *p) {
    const size_t head = (size_t)p->s->desc.seq_q * p->s->desc.head_dim_v;
    for (size_t i = head; i < elements(p); i++)
        p->o[i] = p->o[i % head];
}

static void columns_rotated(struct plot *p) {
    const size_t dim = p->s->desc.head_dim_v;
    for (size_t row = 0; row < p->s->rows; row++)
        for (size_t d = 0; d + 1 < dim; d++)
            swap(&row_of(p, row)[d], &row_of(p, row)[d + 1], 1);
}

static void of_the_previous_batch(struct plot *p) {
    const size_t batch = elements(p) / p->s->desc.batch;
    for (size_t i = elements(p); i-- > batch;)
        p->o[i] = p->o[i - batch];
}

static void o_in_fewer_bits(struct plot *p) {
    const clattn_type type =
        reference_types(&p->s->desc).o == CLATTN_F32 ? CLATTN_F16 : CLATTN_BF16;
    for (size_t i = 0; i < elements(p); i++)
        p->o[i] = at_type(p, reference_round(type, (double)p->o[i]) * (1 + 0x1p-9));
}

static void lse_in_base_2(struct plot *p) {
    for (size_t i = 0; i < p->s->rows; i++)
        p->lse[i] *= 1.44269504f;
}

static void lse_off_by_log_2(struct plot *p) {
    p->lse[p->row] += 0.693147181f;
}

static void lse_four_bounds(struct plot *p) {
    p->lse[p->row] =
        (float)(p->s->expected.lse[p->row] + 4 * compare_bound_lse(&p->s->expected, p->row));
}

static void lse_nan(struct plot *p) {
    p->lse[p->row] = NAN;
}

static void lse_of_no_key(struct plot *p) {
    p->lse[p->row] = -INFINITY;
}

static void lse_without_the_sum(struct plot *p) {
    for (size_t i = 0; i < p->s->rows; i++)
        p->lse[i] -= (float)log(p->s->expected.rows[i].keys + 1.0);
}

static void lse_of_the_neighbour(struct plot *p) {
    swap(&p->lse[p->row], &p->lse[neighbour(p)], 1);
}

/* Computed once more, and not as it should be. */
static void again_with(struct plot *p, const struct honest *how, const clattn_desc *desc,
                       float scale, const float *alibi) {
    float *const *in = p->s->in;
    honest_forward(how, desc, scale, in[SUBJECT_Q], in[SUBJECT_K], in[SUBJECT_V],
                   &(struct reference_extras){.alibi = alibi}, p->o, p->lse);
}

static void again(struct plot *p, const struct honest *how, const clattn_desc *desc, float scale) {
    again_with(p, how, desc, scale, p->s->alibi);
}

static void alibi_ignored(struct plot *p) {
    again_with(p, &p->s->how, &p->s->desc, p->s->scale, NULL);
}

static void causal_off_by_one(struct plot *p) {
    clattn_desc desc = p->s->desc;
    desc.band_right += desc.band_right >= 0;
    again(p, &p->s->how, &desc, p->s->scale);
}

static void scale_ignored(struct plot *p) {
    again(p, &p->s->how, &p->s->desc, 1);
}

static void softcap_ignored(struct plot *p) {
    clattn_desc desc = p->s->desc;
    desc.softcap = 0;
    again(p, &p->s->how, &desc, p->s->scale);
}

static void last_key_dropped(struct plot *p) {
    struct honest how = p->s->how;
    how.drops_last_key = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static void first_key_twice(struct plot *p) {
    struct honest how = p->s->how;
    how.sees_first_key_twice = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static void not_normalised(struct plot *p) {
    struct honest how = p->s->how;
    how.does_not_normalise = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static void one_key_head(struct plot *p) {
    struct honest how = p->s->how;
    how.one_key_head = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static void stale_block(struct plot *p) {
    struct honest how = p->s->how;
    how.stale_block = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

const struct plant plants_table[] = {
    {"one NaN in o", one_nan},
    {"one Inf in o", one_inf},
    {"o is all NaN", all_nan},
    {"a row of zeros", a_row_of_zeros},
    {"o is all zeros", all_zeros},
    {"half of the rows are zeros", half_zeros},
    {"one element is four bounds above", four_bounds},
    {"one element is four bounds below", four_bounds_below},
    {"one element has the other sign", one_sign},
    {"all of o has the other sign", all_signs},
    {"a row is swapped with its neighbour", rows_swapped},
    {"one head is repeated", one_head_repeated},
    {"the columns are rotated", columns_rotated},
    {"o is that of the previous batch", of_the_previous_batch},
    {"o has lost bits", o_in_fewer_bits},
    {"lse is to base 2", lse_in_base_2},
    {"lse is off by log(2)", lse_off_by_log_2},
    {"lse is off by four bounds", lse_four_bounds},
    {"lse of a row is NaN", lse_nan},
    {"lse of a row is that of no key", lse_of_no_key},
    {"lse lacks the sum", lse_without_the_sum},
    {"lse is that of the neighbour", lse_of_the_neighbour},
    {"causal is off by one", causal_off_by_one},
    {"the scale is ignored", scale_ignored},
    {"softcap is ignored", softcap_ignored},
    {"alibi is ignored", alibi_ignored},
    {"the last key is dropped", last_key_dropped},
    {"the first key is seen twice", first_key_twice},
    {"o is not normalised", not_normalised},
    {"all heads have the keys of the first", one_key_head},
    {"v is that of the block before", stale_block},
};
const size_t plants_count = sizeof plants_table / sizeof *plants_table;
