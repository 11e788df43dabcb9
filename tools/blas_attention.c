#define _XOPEN_SOURCE 700

#include "blas_attention.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "verify.h"

/* Sums and maxima of a row are taken in as many parts: a compiler makes vectors of them. */
enum { PARTS = 32 };

struct blas_attention {
    clattn_desc desc;
    float scale;
    unsigned block_rows, blocks; /* blocks: of a head */
    const float *q, *k, *v;
    float *o, *lse;
    float *scores; /* block_rows * seq_kv of each thread */
    atomic_uint next;
    unsigned threads, working, pass;
    bool leave;
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    pthread_t *others; /* threads - 1 */
    unsigned started;
};

struct worker {
    struct blas_attention *all;
    unsigned number;
};

const char *blas_attention_library(void) {
    return openblas_get_config();
}

const char *blas_attention_core(void) {
    return openblas_get_corename();
}

unsigned blas_attention_most_threads(void) {
    static const char name[] = "MAX_THREADS=";
    const char *found = strstr(openblas_get_config(), name);
    const long most = found ? strtol(found + strlen(name), NULL, 10) : 0;
    return most > 0 && most < 1000 ? (unsigned)most : 1000;
}

/* e^x for x <= 0; 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    const float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union {
        int32_t bits;
        float value;
    } power = {.bits = ((int32_t)n + 127) << 23};
    return p * power.value;
}

/* Makes weights, their sum 1, of a row's first `seen` scores, and 0 of the others.  Returns the
 * logarithm of the sum of their exponentials. */
static float softmax(float *restrict s, unsigned seen, unsigned keys, float scale) {
    float most[PARTS], sums[PARTS], m = -INFINITY, sum = 0;
    const unsigned whole = seen / PARTS * PARTS;
    for (unsigned i = 0; i < PARTS; i++) {
        most[i] = -INFINITY;
        sums[i] = 0;
    }
    for (unsigned j = 0; j < whole; j += PARTS) {
        for (unsigned i = 0; i < PARTS; i++) {
            most[i] = s[j + i] > most[i] ? s[j + i] : most[i];
        }
    }
    for (unsigned j = whole; j < seen; j++) {
        m = s[j] > m ? s[j] : m;
    }
    for (unsigned i = 0; i < PARTS; i++) {
        m = most[i] > m ? most[i] : m;
    }
    m *= scale;
    for (unsigned j = 0; j < whole; j += PARTS) {
        for (unsigned i = 0; i < PARTS; i++) {
            s[j + i] = exponential(s[j + i] * scale - m);
            sums[i] += s[j + i];
        }
    }
    for (unsigned j = whole; j < seen; j++) {
        s[j] = exponential(s[j] * scale - m);
        sum += s[j];
    }
    for (unsigned i = 0; i < PARTS; i++) {
        sum += sums[i];
    }
    const float normaliser = 1 / sum;
    for (unsigned j = 0; j < seen; j++) {
        s[j] *= normaliser;
    }
    memset(s + seen, 0, (keys - seen) * sizeof *s);
    return m + logf(sum);
}

/* Rows first ... first + rows - 1 of `head` (batch * heads_q + head). */
static void attend(const struct blas_attention *a, float *scores, size_t head, unsigned first,
                   unsigned rows) {
    const clattn_desc *d = &a->desc;
    const int dim = (int)d->head_dim, dim_v = (int)d->head_dim_v;
    const size_t group = d->heads_q / d->heads_kv;
    const size_t head_kv = head / d->heads_q * d->heads_kv + head % d->heads_q / group;
    const size_t row = head * d->seq_q + first, key = head_kv * d->seq_kv;
    unsigned begin, seen;
    verify_span(d, first + rows - 1, &begin, &seen);
    const int keys = (int)seen;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, keys, dim, 1,
                a->q + row * d->head_dim, dim, a->k + key * d->head_dim, dim, 0, scores, keys);
    for (unsigned i = 0; i < rows; i++) {
        verify_span(d, first + i, &begin, &seen);
        a->lse[row + i] = softmax(scores + i * (size_t)keys, seen, (unsigned)keys, a->scale);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, dim_v, keys, 1, scores, keys,
                a->v + key * d->head_dim_v, dim_v, 0, a->o + row * d->head_dim_v, dim_v);
}

static void work(struct blas_attention *a, unsigned number) {
    const clattn_desc *d = &a->desc;
    float *scores = a->scores + (size_t)number * a->block_rows * d->seq_kv;
    const unsigned heads = d->batch * d->heads_q, tasks = heads * a->blocks;
    for (unsigned task; (task = atomic_fetch_add(&a->next, 1)) < tasks;) {
        /* A head after the other, and its last block, which sees the most, first. */
        const unsigned first = (a->blocks - 1 - task % a->blocks) * a->block_rows;
        const unsigned rows = d->seq_q - first < a->block_rows ? d->seq_q - first : a->block_rows;
        attend(a, scores, task / a->blocks, first, rows);
    }
}

static void *live(void *argument) {
    const struct worker self = *(struct worker *)argument;
    struct blas_attention *a = self.all;
    unsigned seen = 0; /* passes */
    free(argument);
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (a->pass == seen && !a->leave) {
            pthread_cond_wait(&a->begin, &a->lock);
        }
        if (a->leave) {
            break;
        }
        seen = a->pass;
        pthread_mutex_unlock(&a->lock);
        work(a, self.number);
        pthread_mutex_lock(&a->lock);
        if (--a->working == 0) {
            pthread_cond_signal(&a->end);
        }
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

void blas_attention_run(struct blas_attention *a, const float *q, const float *k, const float *v,
                        float *o, float *lse) {
    pthread_mutex_lock(&a->lock);
    a->q = q;
    a->k = k;
    a->v = v;
    a->o = o;
    a->lse = lse;
    atomic_store(&a->next, 0);
    a->working = a->started;
    a->pass++;
    pthread_cond_broadcast(&a->begin);
    pthread_mutex_unlock(&a->lock);
    work(a, a->threads - 1);
    pthread_mutex_lock(&a->lock);
    while (a->working > 0) {
        pthread_cond_wait(&a->end, &a->lock);
    }
    pthread_mutex_unlock(&a->lock);
}

static bool start(struct blas_attention *a) {
    struct worker *w = malloc(sizeof *w);
    if (!w) {
        return false;
    }
    *w = (struct worker){a, a->started};
    if (pthread_create(&a->others[a->started], NULL, live, w) != 0) {
        free(w);
        return false;
    }
    a->started++;
    return true;
}

struct blas_attention *blas_attention_create(const clattn_desc *desc, unsigned block_rows,
                                             unsigned threads) {
    struct blas_attention *a = calloc(1, sizeof *a);
    if (!a) {
        return NULL;
    }
    a->desc = *desc;
    a->scale = (float)(1 / sqrt(desc->head_dim));
    a->block_rows = block_rows;
    a->blocks = (desc->seq_q + block_rows - 1) / block_rows;
    a->threads = threads;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->begin, NULL);
    pthread_cond_init(&a->end, NULL);
    a->scores = malloc((size_t)threads * block_rows * desc->seq_kv * sizeof *a->scores);
    a->others = calloc(threads, sizeof *a->others);
    openblas_set_num_threads(1);
    bool good = a->scores && a->others;
    while (good && a->started + 1 < threads) {
        good = start(a);
    }
    if (!good) {
        blas_attention_destroy(a);
        return NULL;
    }
    return a;
}

void blas_attention_destroy(struct blas_attention *a) {
    if (!a) {
        return;
    }
    pthread_mutex_lock(&a->lock);
    a->leave = true;
    pthread_cond_broadcast(&a->begin);
    pthread_mutex_unlock(&a->lock);
    for (unsigned i = 0; i < a->started; i++) {
        pthread_join(a->others[i], NULL);
    }
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->begin);
    pthread_cond_destroy(&a->end);
    free(a->scores);
    free(a->others);
    free(a);
}
