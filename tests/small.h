/*
 * A small forward problem on buffers of its own, and its right answer: for tests
 * that ask whether a call still works, not how well it computes.
 */
#ifndef TESTS_SMALL_H
#define TESTS_SMALL_H

#include "clattn.h"
#include "reference.h"

enum { SMALL_Q, SMALL_K, SMALL_V, SMALL_O, SMALL_LSE, SMALL_TENSORS };

struct small {
    clattn_desc desc; /* in normal form; type f32 */
    struct reference expected;
    size_t bytes[SMALL_TENSORS];
    cl_mem buffers[SMALL_TENSORS];
    clattn_tensor tensors[SMALL_TENSORS]; /* dense BHSD */
    clattn_forward_args args;             /* of these tensors: do not move the struct */
};

/* Problem text, its inputs drawn from seed.  Ends the test on failure. */
void small_open(struct small *small, cl_context context, cl_command_queue queue, const char *text,
                cl_uint seed);

/* Accepts a zeroed struct. */
void small_close(struct small *small);

/* Fills o and lse with a byte pattern that is no result; small_untouched is true
 * while they hold nothing else.  Both wait for the queue. */
void small_poison(struct small *small, cl_command_queue queue);
bool small_untouched(struct small *small, cl_command_queue queue);

/* Waits for the queue, and compares o and lse with the reference. */
bool small_right(struct small *small, cl_command_queue queue);

#endif
