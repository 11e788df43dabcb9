/*
 * examples/04_train: the gradients of its model against central differences of the model's own
 * loss; and the program: the loss falls, the weights it saves are those that it learned, and a
 * second run gives the same bits.
 *
 *     test_train 04_train TEXT
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../examples/common.h"
#include "../examples/train_model.h"
#include "safetensors.h"

const char program[] = "test_train";
static const char *trainer, *text_path;

/* No size divides another one, as far as the model allows. */
static const struct model_shape shape = {
    .characters = 11, .layers = 2, .width = 96, .heads = 3, .context = 21, .batch = 3};

enum { ROWS = 3 * 21, DIRECTIONS = 4 };

static int characters[ROWS], targets[ROWS];

static double loss(struct model *model, const float *weights) {
    model_set_weights(model, weights);
    model_forward(model, characters, shape.batch);
    return model_loss(model, targets);
}

static struct model *open_model(void) {
    uint64_t random = 5;
    for (int i = 0; i < ROWS; i++) {
        characters[i] = (int)(model_random(&random) * (shape.characters - 1)); /* never the last */
        targets[i] = (int)(model_random(&random) * shape.characters);
    }
    return model_create(find_device(getenv("CLATTN_TEST_DEVICE")), &shape);
}

static void test_start(void **state) {
    (void)state;
    struct model *model = open_model();
    model_start(model, 1);
    model_forward(model, characters, shape.batch);
    assert_float_equal(model_loss(model, targets), log(shape.characters), 1e-6);
    model_destroy(model);
}

/* Of each matrix: along directions of +-1 the loss changes as the gradient says.  The distance
 * allowed is 1% of the gradient's length; half of the terms wrong would be far more. */
static void test_gradients(void **state) {
    (void)state;
    const double step = 1e-3, tolerance = 0.01;
    struct model *model = open_model();
    size_t matrix_count, count = model_weight_count(model);
    const struct model_matrix *matrices = model_matrices(model, &matrix_count);
    float *weights = malloc(count * sizeof *weights), *moved = malloc(count * sizeof *moved);
    float *gradients = malloc(count * sizeof *gradients);
    assert_true(weights && moved && gradients);
    uint64_t random = 6;
    for (size_t m = 0; m < matrix_count; m++)
        for (size_t i = 0; i < matrices[m].rows * matrices[m].columns; i++)
            weights[matrices[m].first + i] =
                (float)((2.0 * model_random(&random) - 1.0) * sqrt(3.0 / (double)matrices[m].rows));
    loss(model, weights);
    model_backward(model);
    model_get_gradients(model, gradients);

    for (size_t m = 0; m < matrix_count; m++)
        for (int d = 0; d < DIRECTIONS; d++) {
            double expected = 0.0, length = 0.0, change = 0.0;
            const uint64_t direction = 100 * m + (uint64_t)d;
            for (int side = -1; side <= 1; side += 2) {
                random = direction;
                for (size_t i = 0; i < count; i++)
                    moved[i] = weights[i];
                for (size_t i = matrices[m].first;
                     i < matrices[m].first + matrices[m].rows * matrices[m].columns; i++) {
                    const double sign = model_random(&random) < 0.5 ? -1.0 : 1.0;
                    moved[i] = (float)(weights[i] + side * sign * step);
                    if (side == 1) {
                        /* What was really moved, after rounding. */
                        expected += (double)gradients[i] * sign;
                        length += (double)gradients[i] * gradients[i];
                    }
                }
                change += side * loss(model, moved) / (2.0 * step);
            }
            length = sqrt(length);
            print_message("%-24s %10.6f, by differences %10.6f, length %.6f\n", matrices[m].name,
                          expected, change, length);
            assert_true(length > 1e-3);
            assert_true(fabs(change - expected) <= tolerance * length);
        }
    /* A character that does not occur has no gradient. */
    for (int i = 0; i < shape.width; i++)
        assert_true(gradients[(shape.characters - 1) * shape.width + i] == 0.0f);
    free(weights);
    free(moved);
    free(gradients);
    model_destroy(model);
}

/* ---- The program -------------------------------------------------------- */

/* What it is given below, and what reads its weights here. */
static const char small[] = "--layers 2 --width 64 --heads 2 --context 32 --batch 4 --sample 20";
static const struct model_shape small_shape = {
    .layers = 2, .width = 64, .heads = 2, .context = 32, .batch = 4};

/* On the device of the tests. */
static void train(const char *options, const char *name) {
    const char *device = getenv("CLATTN_TEST_DEVICE");
    char command[4096];
    int length = snprintf(command, sizeof command,
                          "\"%s\" %s %s -o %s.safetensors --plot %s.svg %s%s%s \"%s\"", trainer,
                          small, options, name, name, device ? "--device \"" : "",
                          device ? device : "", device ? "\"" : "", text_path);
    assert_in_range(length, 1, sizeof command - 1);
    print_message("%s\n", command);
    fflush(stdout);
    assert_int_equal(system(command), 0);
}

/* To be freed. */
static unsigned char *read_whole(const char *path, size_t *size) {
    enum { MOST = 1 << 22 };
    unsigned char *content = malloc(MOST);
    FILE *file = fopen(path, "rb");
    assert_true(content && file);
    *size = fread(content, 1, MOST, file);
    assert_true(*size > 0 && *size < MOST);
    fclose(file);
    return content;
}

static int same_bytes(const char *path, const char *other_path) {
    size_t size, other_size;
    unsigned char *content = read_whole(path, &size), *other = read_whole(other_path, &other_size);
    int same = size == other_size && memcmp(content, other, size) == 0;
    free(content);
    free(other);
    return same;
}

static void test_repeats(void **state) {
    (void)state;
    train("--steps 20", "once");
    train("--steps 20", "again");
    train("--steps 20 --seed 2", "other");
    assert_true(same_bytes("once.safetensors", "again.safetensors"));
    assert_true(same_bytes("once.svg", "again.svg"));
    assert_false(same_bytes("once.safetensors", "other.safetensors"));
    assert_false(same_bytes("once.svg", "other.svg"));
}

static float *read_weights(const struct safetensors *file, struct model *model) {
    char why[SAFETENSORS_WHY];
    size_t count;
    const struct model_matrix *matrices = model_matrices(model, &count);
    float *weights = malloc(model_weight_count(model) * sizeof *weights);
    assert_non_null(weights);
    assert_int_equal(file->count, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct safetensors_tensor *t = safetensors_find(file, matrices[i].name);
        assert_non_null(t);
        assert_string_equal(t->dtype, "F32");
        assert_int_equal(t->rank, 2);
        assert_int_equal(t->shape[0], matrices[i].rows);
        assert_int_equal(t->shape[1], matrices[i].columns);
        assert_int_equal(safetensors_read(file, t, weights + matrices[i].first, why),
                         SAFETENSORS_OK);
    }
    return weights;
}

/* The saved weights, in a model of their own, know the text: less than 68% of log(characters)
 * after 200 steps, where they began with 100%.  The frequencies of characters alone give 74%, so
 * the model has learned which characters follow one another. */
static void test_learns(void **state) {
    (void)state;
    enum { PIECES = 64, CONTEXT = 32 };
    train("--steps 200", "learned");
    struct safetensors file = SAFETENSORS_INIT;
    char why[SAFETENSORS_WHY];
    assert_int_equal(safetensors_open(&file, "learned.safetensors", why), SAFETENSORS_OK);
    const struct safetensors_tensor *bytes = safetensors_find(&file, "bytes");
    assert_non_null(bytes);
    assert_in_range(bytes->shape[0], 2, 256);
    unsigned char byte_of[256];
    int number[256] = {0};
    assert_int_equal(safetensors_read(&file, bytes, byte_of, why), SAFETENSORS_OK);
    struct model_shape its = small_shape;
    its.characters = (int)bytes->shape[0];
    for (int c = 0; c < its.characters; c++)
        number[byte_of[c]] = c;

    struct model *model = model_create(find_device(getenv("CLATTN_TEST_DEVICE")), &its);
    float *weights = read_weights(&file, model);
    model_set_weights(model, weights);
    size_t size;
    unsigned char *text = read_whole(text_path, &size);
    double sum = 0.0;
    for (int i = 0; i < PIECES; i++) {
        const unsigned char *from = text + size / (PIECES + 1) * (size_t)i;
        int in[CONTEXT], out[CONTEXT];
        for (int c = 0; c < CONTEXT; c++) {
            in[c] = number[from[c]];
            out[c] = number[from[c + 1]];
        }
        model_forward(model, in, 1);
        sum += model_loss(model, out) / PIECES;
    }
    print_message("loss %.4f of %.4f\n", sum, log(its.characters));
    assert_true(sum < 0.68 * log(its.characters));
    free(text);
    free(weights);
    model_destroy(model);
    safetensors_close(&file);
}

int main(int argc, char **argv) {
    if (argc != 3)
        die(EXIT_USAGE, "04_train and TEXT");
    trainer = argv[1];
    text_path = argv[2];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start), cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_repeats), cmocka_unit_test(test_learns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
