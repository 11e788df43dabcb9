/*
 * bwd_lanes_kv - d_k and d_v for CPU devices: SIMD lanes run over keys.
 *
 * One work-item, alone in its work-group, computes a block of keys (lanes_keys.cl): the query heads
 * that share it one after the other, the rows that see it in tiles.  With bwd_lanes_q, which scores
 * again, seven products.
 *
 * Grid: dimension 0 runs over blocks of keys, dimension 1 over heads of K and V, then batch.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void bwd_lanes_kv(KERNEL_ARGUMENTS) {
    const int key0 = (int)get_global_id(0) * BLOCK;
    struct slice s;
    slice_of_number(&p, (uint)get_global_id(1) * (uint)slice_sharing(&p), &s);
    const int keys = min(BLOCK, s.band.seq_kv - key0), first = s.head;
    struct lanes_keys b;
    lanes_keys_begin(&b, &p, key0, keys, k + slice_begin_kv(&p.k, &s) + key0 * p.k.row,
                     v + slice_begin_kv(&p.v, &s) + key0 * p.v.row);
    for (int head = first; head < first + slice_sharing(&p); head++) {
        slice_of_head(&p, s.batch, head, &s);
        struct scene scene;
        score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
        const int4 span = span_of_keys(&s.band, key0, key0 + keys - 1);
        for (int row0 = span.x; row0 < span.y; row0 += TILE_ROWS) {
            lanes_keys_meet(&b, &p, &s, &scene, span, row0, min(TILE_ROWS, span.y - row0), q, d_o,
                            lse, workspace);
        }
    }
    lanes_keys_store(&b, &p, d_k + slice_begin_kv(&p.d_k, &s) + key0 * p.d_k.row,
                     d_v + slice_begin_kv(&p.d_v, &s) + key0 * p.d_v.row);
}
