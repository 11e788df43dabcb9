/*
 * lock - a mutex, from C11 threads where the C library has them, else from the
 * system.  Held around host work of microseconds, and for longer only where a driver
 * compiles: in a context's program cache, so that two threads that want the same
 * program build it once, and around the first launch where a driver compiles then.
 */
#ifndef LOCK_H
#define LOCK_H

#include <stdbool.h>

#if defined(_WIN32)
#include <windows.h>
typedef SRWLOCK lock;
#elif defined(__STDC_NO_THREADS__) || defined(__APPLE__)
#include <pthread.h>
typedef pthread_mutex_t lock;
#else
#include <threads.h>
typedef mtx_t lock;
#endif

/* False when the system has no mutex to give. */
bool lock_init(lock *l);
void lock_destroy(lock *l);
void lock_take(lock *l);
void lock_give(lock *l);

#endif
