/*
 * merge_rows - joins two results of the same queries, over disjoint keys: the softmax of all keys.
 *
 * A work-item for each query row: o = (w_1 o_1 + w_2 o_2) / (w_1 + w_2), w = exp(lse - maximum).
 * o may be o_1 or o_2, and lse one of theirs: a work-item reads both lse first, and each element of
 * o_1 and o_2 before it writes that of o.
 * Grid: dimension 0 runs over rows, then heads, then batch (the last group may hold idle
 * work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void merge_rows(KERNEL_ARGUMENTS) {
    const size_t index = get_global_id(0);
    if (index >= slice_rows(&p)) {
        return;
    }
    int row;
    struct slice s;
    slice_of_row(&p, index, &row, &s);
    float factor_1, factor_2;
    const float lse_of_both =
        state_merge(lse_1[slice_begin(&p.lse_1, &s) + row * p.lse_1.row],
                    lse_2[slice_begin(&p.lse_2, &s) + row * p.lse_2.row], &factor_1, &factor_2);
    if (p.given & OPERAND_LSE) {
        lse[slice_begin(&p.lse, &s) + row * p.lse.row] = lse_of_both;
    }
    o_1 += slice_begin(&p.o_1, &s) + row * p.o_1.row;
    o_2 += slice_begin(&p.o_2, &s) + row * p.o_2.row;
    o += slice_begin(&p.o, &s) + row * p.o.row;
    for (int d = 0; d < HEAD_DIM_V; d++) {
        const float second = load(o_2 + d, TYPE_O_2) * factor_2;
        store(o + d, fma(load(o_1 + d, TYPE_O_1), factor_1, second), TYPE_O);
    }
}
