/*
 * A causal transformer language model for 04_train.c: its weights, forward, backward, AdamW.
 *
 *     x = embedding of the characters
 *     for each layer:  x += attention(norm(x) QKV) OUT,  x += relu(norm(x) UP)^2 DOWN
 *     logits = norm(x) HEAD
 *
 * Capitals are matrices.  A row of x is a character of the batch.  Where a character stands,
 * attention knows by ALiBi alone.  norm is RMS norm without weights.  Everything is float.
 */
#ifndef TRAIN_MODEL_H
#define TRAIN_MODEL_H

#include <clattn.h>
#include <stddef.h>
#include <stdint.h>

struct model_shape {
    int characters; /* that there are: the vocabulary */
    int layers;
    int width; /* of a row of x; heads times a head dimension of at most 512 */
    int heads;
    int context; /* characters of a sequence */
    int batch;   /* sequences of a step, at most */
};

/* A matrix of weights: [rows, columns], and y = x W. */
struct model_matrix {
    char name[32]; /* "layers.0.qkv.weight" */
    size_t rows, columns;
    size_t first; /* its first element among all weights */
};

struct model;

/* Weights are not set.  Dies (common.h) if anything is missing. */
struct model *model_create(cl_device_id device, const struct model_shape *shape);
void model_destroy(struct model *model);

/* The matrices, and how many; their elements follow one another without gaps. */
const struct model_matrix *model_matrices(const struct model *model, size_t *count);
size_t model_weight_count(const struct model *model);

/* Prints which variants of clattn run, and the device memory. */
void model_print(const struct model *model);

/* Random numbers from the seed, variance 1 / rows, for matrices that read x; 0 for those that write
 * to it, and for HEAD, so that the first loss is log(characters). */
void model_start(struct model *model, uint64_t seed);

void model_get_weights(struct model *model, float *weights);
void model_set_weights(struct model *model, const float *weights);
void model_get_gradients(struct model *model, float *gradients);

/* Logits of `sequences` sequences: characters [sequences, context], numbers from 0. */
void model_forward(struct model *model, const int *characters, int sequences);

/* The logits of one row of the last model_forward: [characters]. */
void model_get_logits(struct model *model, int row, float *logits);

/* The mean cross-entropy of the last model_forward.  targets as characters.  Once for each
 * model_forward: the logits become their gradients. */
double model_loss(struct model *model, const int *targets);

/* The gradients of the last model_loss. */
void model_backward(struct model *model);

/* One step of AdamW with these gradients; steps count from 1. */
void model_update(struct model *model, int step, double rate, double weight_decay);

/* In [0, 1), by the SplitMix64 generator; state is any number at first. */
double model_random(uint64_t *state);

#endif
