/*
 * size - checked arithmetic on sizes.
 *
 * Every product or sum that decides how far memory is touched goes through
 * here: on overflow the functions return false and leave *result unset.
 */
#ifndef SIZE_H
#define SIZE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

static inline bool size_mul(uint64_t a, uint64_t b, uint64_t *result) {
    if (a != 0 && b > UINT64_MAX / a) {
        return false;
    }
    *result = a * b;
    return true;
}

static inline bool size_add(uint64_t a, uint64_t b, uint64_t *result) {
    if (b > UINT64_MAX - a) {
        return false;
    }
    *result = a + b;
    return true;
}

/* *result += a * b */
static inline bool size_add_mul(uint64_t *result, uint64_t a, uint64_t b) {
    uint64_t product;
    return size_mul(a, b, &product) && size_add(*result, product, result);
}

/* a * b, or UINT64_MAX where the product is over that. */
static inline uint64_t size_mul_capped(uint64_t a, uint64_t b) {
    uint64_t product;
    return size_mul(a, b, &product) ? product : UINT64_MAX;
}

/* The smallest number of steps of b that covers a; b > 0. */
static inline uint64_t size_div_up(uint64_t a, uint64_t b) {
    assert(b > 0);
    return a / b + (a % b != 0);
}

#endif
