#include "picture.h"

#include <math.h>
#include <png.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t picture_size(const struct picture *picture) {
    return (size_t)picture->width * (size_t)picture->height * (size_t)picture->channels;
}

int picture_read(struct picture *picture, const char *path, char why[PICTURE_MESSAGE]) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    const png_color white = {255, 255, 255};
    memset(picture, 0, sizeof *picture);
    if (!png_image_begin_read_from_file(&image, path)) {
        snprintf(why, PICTURE_MESSAGE, "%s", image.message);
        return 0;
    }
    image.format = image.format & PNG_FORMAT_FLAG_COLOR ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    picture->channels = (int)PNG_IMAGE_PIXEL_CHANNELS(image.format);
    if ((double)image.width * image.height > 1 << 26) {
        snprintf(why, PICTURE_MESSAGE, "more than 2^26 pixels");
        png_image_free(&image);
        return 0;
    }
    picture->width = (int)image.width;
    picture->height = (int)image.height;
    picture->pixels = malloc(picture_size(picture));
    if (!picture->pixels) {
        snprintf(why, PICTURE_MESSAGE, "no memory");
        png_image_free(&image);
        return 0;
    }
    if (!png_image_finish_read(&image, &white, picture->pixels, 0, NULL)) {
        snprintf(why, PICTURE_MESSAGE, "%s", image.message);
        free(picture->pixels);
        picture->pixels = NULL;
        return 0;
    }
    return 1;
}

int picture_write(const struct picture *picture, const char *path, char why[PICTURE_MESSAGE]) {
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)picture->width,
                       .height = (png_uint_32)picture->height,
                       .format = picture->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    if (!png_image_write_to_file(&image, path, 0, picture->pixels, 0, NULL)) {
        snprintf(why, PICTURE_MESSAGE, "%s", image.message);
        return 0;
    }
    return 1;
}

/* In place: no pixel moves to a higher address. */
int picture_crop(struct picture *picture, int width, int height) {
    if (width > picture->width || height > picture->height)
        return 0;
    size_t pixel = (size_t)picture->channels;
    size_t row = (size_t)picture->width * pixel, new_row = (size_t)width * pixel;
    const unsigned char *from = picture->pixels + (size_t)((picture->height - height) / 2) * row +
                                (size_t)((picture->width - width) / 2) * pixel;
    for (size_t y = 0; y < (size_t)height; y++)
        memmove(picture->pixels + y * new_row, from + y * row, new_row);
    picture->width = width;
    picture->height = height;
    return 1;
}

unsigned char picture_level(double value) {
    return (unsigned char)(value >= 255.0 ? 255.0 : value > 0.0 ? floor(value + 0.5) : 0.0);
}

/* In (0, 1), by the SplitMix64 generator. */
static double uniform(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

/* The Box-Muller transform. */
void picture_add_noise(struct picture *noisy, const struct picture *clean, double sigma) {
    const double two_pi = 2.0 * acos(-1.0);
    uint64_t state = 1;
    for (size_t i = 0; i < picture_size(clean); i++) {
        double radius = sqrt(-2.0 * log(uniform(&state)));
        double angle = two_pi * uniform(&state);
        noisy->pixels[i] = picture_level(clean->pixels[i] + sigma * radius * cos(angle));
    }
}

double picture_psnr(const struct picture *a, const struct picture *b) {
    double sum = 0.0;
    for (size_t i = 0; i < picture_size(a); i++) {
        double difference = (double)a->pixels[i] - (double)b->pixels[i];
        sum += difference * difference;
    }
    return 10.0 * log10(255.0 * 255.0 * (double)picture_size(a) / sum);
}
