/* Both ring formats as the specification lays them out, and what the two programs of this benchmark share. */
#ifndef RING_H
#define RING_H
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HEADER 12
#define BURST 32

enum format { SPLIT, PACKED };
enum mode { TRANSMIT, RECEIVE, ROUND_TRIP };

struct split_descriptor { uint64_t address; uint32_t length; uint16_t flags, next; };
struct available { uint16_t flags, index, ring[]; };
struct used_element { uint32_t id, length; };
struct used { uint16_t flags, index; struct used_element ring[]; };
struct packed_descriptor { uint64_t address; uint32_t length; uint16_t id, flags; };
struct event_suppression { uint16_t descriptor, flags; };

#define WRITE 2
#define AVAILABLE (1 << 7)
#define USED (1 << 15)
#define NO_NOTIFY 1 /* a split ring's used flags */
#define DISABLE 1   /* a packed ring's event suppression */

/* Flags of a descriptor that is available, or used, in a lap with this wrap counter. */
static inline uint16_t available_flags(int wrap) { return wrap ? AVAILABLE : USED; }
static inline uint16_t used_flags(int wrap) { return wrap ? AVAILABLE | USED : 0; }

#define load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define relax() __builtin_ia32_pause()
#define always_inline static inline __attribute__((always_inline))

static inline void fail(const char *what) {
  perror(what);
  exit(1);
}

static inline void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
}

static inline enum format format_of(const char *name) { return strcmp(name, "packed") ? SPLIT : PACKED; }
static inline enum mode mode_of(const char *name) {
  return !strcmp(name, "transmit") ? TRANSMIT : !strcmp(name, "receive") ? RECEIVE : ROUND_TRIP;
}

static inline uint8_t *map(int fd, size_t length) {
  void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}
#endif
