/*
 * problem_file - a problem and its tensors from a safetensors file, and its answer into one.
 */
#ifndef PROBLEM_FILE_H
#define PROBLEM_FILE_H

#include <stdbool.h>
#include <clattn.h>
#include "execute.h"

enum { PROBLEM_Q, PROBLEM_K, PROBLEM_V, PROBLEM_ALIBI, PROBLEM_O, PROBLEM_LSE };

enum { PROBLEM_FILE_WHY = 512 };

struct problem_file {
    clattn_desc desc; /* types, batch, heads, lengths, head dimensions, features */
    struct execute_tensor tensors[EXECUTE_TENSORS];
    bool bshd;               /* the order of q, k, v and o is [batch, row, head, dim] */
    clattn_type output_type; /* of o; 0: as q */
};

/* Reads q, k, v and, where the file has it, alibi, and makes room for o and lse.  bshd and
 * output_type are set already, all else zero.  Returns an exit code (outcome.h) and, if that is not
 * OUTCOME_DONE, a sentence in why.  problem_file_destroy is needed in any case. */
int problem_file_load(struct problem_file *problem, const char *path, char why[PROBLEM_FILE_WHY]);

/* Writes o and lse, and nothing unless all of both. */
int problem_file_store(const struct problem_file *problem, const char *path,
                       char why[PROBLEM_FILE_WHY]);

void problem_file_destroy(struct problem_file *problem);

#endif
