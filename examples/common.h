/*
 * What the longer examples share: errors, options, and the choice of a device.
 */
#ifndef COMMON_H
#define COMMON_H

#include <clattn.h>

enum { EXIT_USAGE = 2 };

/* The example's name, which begins each of its sentences.  The example defines it. */
extern const char program[];

/* Prints a sentence on stderr and exits with the code. */
_Noreturn void die(int code, const char *format, ...);

/* Dies unless the status is CL_SUCCESS. */
void check(cl_int status, const char *what);

/* Memory from malloc; dies where there is none. */
void *allocate(size_t count, size_t size);

/* The option's value, a number in least ... most; dies if the text is anything else. */
double parse_number(const char *option, const char *text, double least, double most);

/* NULL: the first device.  "N": the N-th of all platforms, from 0.  Else the first whose
 * "platform / device" contains the text.  Prints which it is; dies if there is none. */
cl_device_id find_device(const char *wanted);

/* For clattn_context_desc.notify: prints the sentence. */
void CL_CALLBACK print_sentence(cl_int status, const char *sentence, void *user_data);

#endif
