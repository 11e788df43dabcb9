#include "lock.h"

#if defined(_WIN32)

bool lock_init(lock *l) {
    InitializeSRWLock(l);
    return true;
}

void lock_destroy(lock *l) {
    (void)l;
}

void lock_take(lock *l) {
    AcquireSRWLockExclusive(l);
}

void lock_give(lock *l) {
    ReleaseSRWLockExclusive(l);
}

#elif defined(__STDC_NO_THREADS__) || defined(__APPLE__)

bool lock_init(lock *l) {
    return pthread_mutex_init(l, NULL) == 0;
}

void lock_destroy(lock *l) {
    pthread_mutex_destroy(l);
}

void lock_take(lock *l) {
    pthread_mutex_lock(l);
}

void lock_give(lock *l) {
    pthread_mutex_unlock(l);
}

#else

bool lock_init(lock *l) {
    return mtx_init(l, mtx_plain) == thrd_success;
}

void lock_destroy(lock *l) {
    mtx_destroy(l);
}

void lock_take(lock *l) {
    mtx_lock(l);
}

void lock_give(lock *l) {
    mtx_unlock(l);
}

#endif
