/*
 * 8-bit pictures, gray or RGB, from and to PNG, for 03_denoise.c.
 */
#ifndef PICTURE_H
#define PICTURE_H

#include <stddef.h>

struct picture {
    int width, height, channels; /* 1 or 3 channels */
    unsigned char *pixels;       /* [height, width, channels], by malloc; the caller frees it */
};

enum { PICTURE_MESSAGE = 64 };

/* Bytes in pixels. */
size_t picture_size(const struct picture *picture);

/* Read and write return 1, or 0 and a sentence in why.  Transparent pixels are laid on white,
 * 16 bits become 8; up to 2^26 pixels. */
int picture_read(struct picture *picture, const char *path, char why[PICTURE_MESSAGE]);
int picture_write(const struct picture *picture, const char *path, char why[PICTURE_MESSAGE]);

/* Keeps the middle; 0 if the picture is smaller than that. */
int picture_crop(struct picture *picture, int width, int height);

/* The level 0 ... 255 nearest to a number. */
unsigned char picture_level(double value);

/* noisy = clean + Gaussian noise, the same noise at each call.  noisy has the size of clean,
 * and pixels of its own. */
void picture_add_noise(struct picture *noisy, const struct picture *clean, double sigma);

/* Peak signal-to-noise ratio in dB of two pictures of one size. */
double picture_psnr(const struct picture *a, const struct picture *b);

#endif
