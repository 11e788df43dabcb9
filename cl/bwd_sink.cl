/*
 * bwd_sink - d_sink: minus the sum of P delta over a head's rows, where P is the sink's share in a
 * row's weights: its v is 0, and so is its dP.
 *
 * Where d_sink's stride for batches is 0, the sum is over batches, too; in the order of rows, then
 * batches, with the levels of grad.cl.
 * Grid: dimension 0 runs over heads, then what d_sink has of batches (the last group may hold idle
 * work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void bwd_sink(KERNEL_ARGUMENTS) {
    int2 begin, end;
    if (!slice_of_heads(&p, &p.d_sink, get_global_id(0), &begin, &end)) {
        return;
    }
    float block = 0.0f, segment = 0.0f, total = 0.0f;
    int count = 0;
    for (int batch = begin.x; batch < end.x; batch++) {
        struct slice s;
        slice_of_head(&p, batch, begin.y, &s);
        struct scene scene;
        score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
        for (int row = 0; row < s.band.seq_q && scene.sink > -INFINITY; row++) {
            const float reference = grad_reference(lse[slice_begin(&p.lse, &s) + row * p.lse.row]);
            block -= grad_weight(scene.sink, reference) * workspace[grad_delta_at(&p, &s, row)];
            count++;
            if (count % GRAD_BLOCK == 0) {
                segment += block;
                block = 0.0f;
            }
            if (count % GRAD_SEGMENT == 0) {
                total += segment;
                segment = 0.0f;
            }
        }
    }
    d_sink[slice_of_tensor(&p.d_sink, begin.x, begin.y)] = total + (segment + block);
}
