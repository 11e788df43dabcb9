/*
 * What 04_train.c computes beside attention (clattn) and matrix products (CLBlast).
 *
 * Matrices are float, row by row.  WIDTH is the columns of a row of the model, CHARACTERS those of
 * a row of logits.  Sums have a fixed order, so that results repeat to the bit: no atomics.
 * Kernels that sum along a row give each row a work-group of LANES work-items.
 */

/* Every work-item gets the sum of the work-group's numbers. */
float sum_of_lanes(__local float *numbers, size_t lane, float number) {
    numbers[lane] = number;
    barrier(CLK_LOCAL_MEM_FENCE);
    float sum = 0.0f;
    for (int i = 0; i < LANES; i++)
        sum += numbers[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

float max_of_lanes(__local float *numbers, size_t lane, float number) {
    numbers[lane] = number;
    barrier(CLK_LOCAL_MEM_FENCE);
    float largest = numbers[0];
    for (int i = 1; i < LANES; i++)
        largest = fmax(largest, numbers[i]);
    barrier(CLK_LOCAL_MEM_FENCE);
    return largest;
}

/* x = the embedding of each character. */
__kernel void embed(__global const int *characters, __global const float *embedding,
                    __global float *x) {
    size_t column = get_global_id(0), row = get_global_id(1);
    x[row * WIDTH + column] = embedding[(size_t)characters[row] * WIDTH + column];
}

/* The gradient of embed: each character's is the sum over the rows where it stands.  These are
 * order[first[character]] ... order[first[character + 1] - 1], so that no two work-items add to one
 * number. */
__kernel void embed_backward(__global const float *d_x, __global const int *order,
                             __global const int *first, __global float *d_embedding) {
    size_t column = get_global_id(0), character = get_global_id(1);
    float sum = 0.0f;
    for (int i = first[character]; i < first[character + 1]; i++)
        sum += d_x[(size_t)order[i] * WIDTH + column];
    d_embedding[character * WIDTH + column] = sum;
}

/* RMS norm: y = factor x with factor = 1 / sqrt(mean of the row's x^2). */
__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void
norm(__global const float *x, __global float *y, __global float *factors) {
    __local float numbers[LANES];
    size_t lane = get_local_id(0), row = get_group_id(1), at = row * WIDTH;
    float sum = 0.0f;
    for (int c = (int)lane; c < WIDTH; c += LANES)
        sum += x[at + c] * x[at + c];
    float factor = rsqrt(sum_of_lanes(numbers, lane, sum) / WIDTH + 1e-6f);
    for (int c = (int)lane; c < WIDTH; c += LANES)
        y[at + c] = factor * x[at + c];
    if (lane == 0)
        factors[row] = factor;
}

/* d_x += factor (d_y - y mean of the row's d_y y) */
__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void
norm_backward(__global const float *d_y, __global const float *y, __global const float *factors,
              __global float *d_x) {
    __local float numbers[LANES];
    size_t lane = get_local_id(0), row = get_group_id(1), at = row * WIDTH;
    float sum = 0.0f;
    for (int c = (int)lane; c < WIDTH; c += LANES)
        sum += d_y[at + c] * y[at + c];
    float mean = sum_of_lanes(numbers, lane, sum) / WIDTH, factor = factors[row];
    for (int c = (int)lane; c < WIDTH; c += LANES)
        d_x[at + c] += factor * (d_y[at + c] - y[at + c] * mean);
}

/* y = max(x, 0)^2, a smooth ReLU (So et al. 2021, "Primer"). */
__kernel void relu2(__global const float *x, __global float *y) {
    size_t i = get_global_id(0);
    float positive = fmax(x[i], 0.0f);
    y[i] = positive * positive;
}

/* In place: d_y becomes d_x. */
__kernel void relu2_backward(__global const float *x, __global float *d_y) {
    size_t i = get_global_id(0);
    d_y[i] *= 2.0f * fmax(x[i], 0.0f);
}

/* Cross-entropy, -log softmax(logits)[target], of each row.  In place: the logits become share
 * times their gradients. */
__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void
cross_entropy(__global float *logits, __global const int *targets, float share,
              __global float *losses) {
    __local float numbers[LANES];
    size_t lane = get_local_id(0), row = get_group_id(1), at = row * CHARACTERS;
    int target = targets[row];
    float largest = -INFINITY, sum = 0.0f;
    for (int c = (int)lane; c < CHARACTERS; c += LANES)
        largest = fmax(largest, logits[at + c]);
    largest = max_of_lanes(numbers, lane, largest);
    for (int c = (int)lane; c < CHARACTERS; c += LANES)
        sum += exp(logits[at + c] - largest);
    sum = sum_of_lanes(numbers, lane, sum);
    for (int c = (int)lane; c < CHARACTERS; c += LANES) {
        float logit = logits[at + c], probability = exp(logit - largest) / sum;
        logits[at + c] = share * (probability - (c == target ? 1.0f : 0.0f));
        if (c == target)
            losses[row] = log(sum) + largest - logit;
    }
}

/* AdamW (Loshchilov, Hutter 2019): mean and square are running means of the gradient and of its
 * square, unbias_* make up for their start from 0, decay is the rate times the weight decay. */
__kernel void adamw(__global float *weights, __global const float *gradients, __global float *means,
                    __global float *squares, float rate, float decay, float beta_mean,
                    float beta_square, float unbias_mean, float unbias_square) {
    size_t i = get_global_id(0);
    float gradient = gradients[i];
    float mean = beta_mean * means[i] + (1.0f - beta_mean) * gradient;
    float square = beta_square * squares[i] + (1.0f - beta_square) * gradient * gradient;
    means[i] = mean;
    squares[i] = square;
    weights[i] -=
        decay * weights[i] + rate * (mean * unbias_mean) / (sqrt(square * unbias_square) + 1e-8f);
}
