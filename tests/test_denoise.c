/*
 * examples/03_denoise against non-local means by its definition: squared differences of
 * patches, in double, without the algebra that makes an inner product of them.
 *
 *     test_denoise 03_denoise PHOTO.png
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../examples/picture.h"

static const char *program, *photo;

static struct picture read_picture(const char *path) {
    struct picture picture;
    char why[PICTURE_MESSAGE];
    if (!picture_read(&picture, path, why))
        fail_msg("%s: %s", path, why);
    return picture;
}

/* On the device of the tests; status of the program. */
static int denoise(const char *options, const char *in, const char *out) {
    const char *device = getenv("CLATTN_TEST_DEVICE");
    char command[4096];
    int length =
        snprintf(command, sizeof command, "\"%s\" %s %s%s%s \"%s\" \"%s\"", program, options,
                 device ? "--device \"" : "", device ? device : "", device ? "\"" : "", in, out);
    assert_in_range(length, 1, sizeof command - 1);
    print_message("%s\n", command);
    return system(command);
}

/* Walks along the mirrored line, one step at a time. */
static int reflected(int from, int steps, int size) {
    int direction = steps < 0 ? -1 : 1;
    for (int n = abs(steps); n > 0 && size > 1; n--) {
        if (from + direction < 0 || from + direction >= size)
            direction = -direction;
        from += direction;
    }
    return from;
}

static double level(const struct picture *p, int y, int x, int dy, int dx, int c) {
    int at = reflected(y, dy, p->height) * p->width + reflected(x, dx, p->width);
    return p->pixels[at * p->channels + c];
}

/* expected [height, width, channels] */
static void by_definition(const struct picture *p, int patch, double h, double reach,
                          double *expected) {
    int pixels = p->width * p->height, radius = patch / 2, n = patch * patch * p->channels;
    double *patches = malloc((size_t)pixels * (size_t)n * sizeof *patches), *to = patches;
    assert_non_null(patches);
    for (int i = 0; i < pixels; i++)
        for (int dy = -radius; dy <= radius; dy++)
            for (int dx = -radius; dx <= radius; dx++)
                for (int c = 0; c < p->channels; c++)
                    *to++ = level(p, i / p->width, i % p->width, dy, dx, c);

    for (int i = 0; i < pixels; i++) {
        double total = 0.0, sums[3] = {0.0};
        for (int j = 0; j < pixels; j++) {
            const double *a = patches + (size_t)i * (size_t)n, *b = patches + (size_t)j * (size_t)n;
            double distance = 0.0;
            for (int e = 0; e < n; e++)
                distance += (a[e] - b[e]) * (a[e] - b[e]);
            double dx = i % p->width - j % p->width, dy = i / p->width - j / p->width;
            double places = reach > 0.0 ? (dx * dx + dy * dy) / (reach * reach) : 0.0;
            double weight = exp(-distance / (n * h * h) - places);
            total += weight;
            for (int c = 0; c < p->channels; c++)
                sums[c] += weight * p->pixels[j * p->channels + c];
        }
        for (int c = 0; c < p->channels; c++)
            expected[i * p->channels + c] = sums[c] / total;
    }
    free(patches);
}

/* The program's picture of its own noisy picture.  Half a level is rounding to 8 bits; scores
 * stay below 200, which in 32 bits moves a mean by a few hundredths of a level at most. */
static void check_definition(const char *noisy_path, const char *out_path, int patch, double h,
                             double reach) {
    struct picture noisy = read_picture(noisy_path), out = read_picture(out_path);
    assert_int_equal(noisy.width, out.width);
    assert_int_equal(noisy.height, out.height);
    assert_int_equal(noisy.channels, out.channels);
    double *expected = malloc(picture_size(&noisy) * sizeof *expected), worst = 0.0;
    assert_non_null(expected);
    by_definition(&noisy, patch, h, reach, expected);
    for (size_t i = 0; i < picture_size(&noisy); i++)
        worst = fmax(worst, fabs(out.pixels[i] - expected[i]));
    print_message("largest difference %.4f levels\n", worst);
    assert_true(worst <= 0.55);
    free(expected);
    free(noisy.pixels);
    free(out.pixels);
}

static void test_colour(void **state) {
    (void)state;
    assert_int_equal(denoise("--crop 48x40", photo, "colour.png"), 0);
    check_definition("colour-noisy.png", "colour.png", 5, 0.85 * 25.0, 12.0);

    struct picture clean = read_picture(photo), noisy = read_picture("colour-noisy.png");
    struct picture out = read_picture("colour.png");
    assert_true(picture_crop(&clean, 48, 40));
    assert_int_equal(picture_size(&clean), picture_size(&noisy));
    double before = picture_psnr(&noisy, &clean), after = picture_psnr(&out, &clean);
    print_message("PSNR %.2f dB, then %.2f dB\n", before, after);
    assert_true(before > 19.5 && before < 21.5); /* 20.17 dB, if nothing were cut at 0 and 255 */
    assert_true(after >= before + 6.0);
    free(clean.pixels);
    free(noisy.pixels);
    free(out.pixels);
}

static void test_gray(void **state) {
    (void)state;
    struct picture picture = read_picture(photo);
    char why[PICTURE_MESSAGE];
    for (size_t i = 0; i < picture_size(&picture); i += 3)
        picture.pixels[i / 3] = picture.pixels[i + 1];
    picture.channels = 1;
    assert_true(picture_write(&picture, "gray-in.png", why));
    free(picture.pixels);
    assert_int_equal(
        denoise("--crop 41x37 --sigma 15 --variant fwd_rows", "gray-in.png", "gray.png"), 0);
    check_definition("gray-noisy.png", "gray.png", 7, 0.85 * 15.0, 12.0);
}

/* The patch is larger than the picture: mirrors of mirrors. */
static void test_tiny(void **state) {
    (void)state;
    assert_int_equal(denoise("--crop 3x1 --patch 11 --h 40 --reach 0", photo, "tiny.png"), 0);
    check_definition("tiny-noisy.png", "tiny.png", 11, 40.0, 0.0);
}

/* What the first run wrote as noisy, read as a noisy picture, gives the same result. */
static void test_already_noisy(void **state) {
    (void)state;
    assert_int_equal(denoise("--crop 20x20", photo, "first.png"), 0);
    assert_int_equal(denoise("--noisy", "first-noisy.png", "second.png"), 0);
    struct picture first = read_picture("first.png"), second = read_picture("second.png");
    assert_int_equal(picture_size(&first), picture_size(&second));
    assert_memory_equal(first.pixels, second.pixels, picture_size(&first));
    free(first.pixels);
    free(second.pixels);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_gray),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_already_noisy),
    };
    if (argc != 3)
        return 2;
    program = argv[1];
    photo = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
