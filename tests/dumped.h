/* dumped - what CLATTN_DUMP leaves behind. */
#ifndef TESTS_DUMPED_H
#define TESTS_DUMPED_H

/* The text of the one file in the folder, whose name begins with the kernel's and a hyphen; the
 * folder is empty afterwards.  To be freed.  Fails the test where there are more files or none. */
char *dumped_take(const char *folder, const char *kernel);

#endif
