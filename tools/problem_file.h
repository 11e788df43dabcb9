/*
 * problem_file - a problem and its tensors from a safetensors file, and its answer into one.
 */
#ifndef PROBLEM_FILE_H
#define PROBLEM_FILE_H

#include <stdbool.h>
#include <clattn.h>
#include "execute.h"

enum { PROBLEM_FILE_WHY = 512 };

struct problem_file {
    /* Set by the caller. */
    bool bshd;                  /* the order of q, k, v, o and their gradients is
                                   [batch, row, head, dim] */
    const char *const *ignored; /* names of tensors that are as good as not there */
    size_t ignored_count;
    clattn_type output_type; /* of o; 0: as q */

    clattn_desc desc; /* types, batch, heads, lengths, head dimensions, features */
    struct execute_tensor tensors[EXECUTE_TENSORS];
    bool backward;    /* the file has `do`: there is room for dq, dk and dv */
    char unused[256]; /* the file's tensors that are none of these, with commas between, in
                         printable ASCII; cut where they are many */
};

/* Reads q, k and v, and alibi, bias, mask, sink, do and dlse where the file has them (dlse only
 * with do), and makes room for o, lse and the gradients.  Returns an exit code (outcome.h) and, if
 * that is not OUTCOME_DONE, a sentence in why.  problem_file_destroy is needed in any case. */
int problem_file_load(struct problem_file *problem, const char *path, char why[PROBLEM_FILE_WHY]);

/* Writes o and lse, with `backward` also dq, dk and dv, and nothing unless all of them. */
int problem_file_store(const struct problem_file *problem, const char *path,
                       char why[PROBLEM_FILE_WHY]);

void problem_file_destroy(struct problem_file *problem);

#endif
