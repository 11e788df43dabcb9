/*
 * bwd_delta - delta of each query row: the sum of d_o * o over the row, less d_lse.
 *
 * Every backward solver's first stage.  Delta goes to the workspace (grad.cl); it is 0 for rows
 * that see nothing, whatever their d_o holds; with a sink -d_lse, as their lse is the sink.
 * Grid: dimension 0 runs over rows, then heads, then batch (the last group may hold idle
 * work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void bwd_delta(KERNEL_ARGUMENTS) {
    const size_t index = get_global_id(0);
    if (index >= slice_rows(&p)) {
        return;
    }
    int row;
    struct slice s;
    slice_of_row(&p, index, &row, &s);
    o += slice_begin(&p.o, &s) + row * p.o.row;
    d_o += slice_begin(&p.d_o, &s) + row * p.d_o.row;
    const int2 keys = span_of_row(&s.band, row);
    const int sees = keys.x < keys.y;
    float sum = 0.0f;
    for (int d0 = 0; d0 < HEAD_DIM_V && sees; d0 += GRAD_BLOCK) {
        float block = 0.0f;
        for (int d = d0; d < min(d0 + GRAD_BLOCK, HEAD_DIM_V); d++) {
            const float of_o = load(o + d, TYPE_O);
            const float more = fma(load(d_o + d, TYPE_D_O), of_o, block);
            block = HIDES && of_o == 0.0f ? block : more;
        }
        sum += block;
    }
    if ((p.given & OPERAND_D_LSE) && (SINK || sees)) {
        sum -= d_lse[slice_begin(&p.d_lse, &s) + row * p.d_lse.row];
    }
    workspace[grad_delta_at(&p, &s, row)] = sum;
}
