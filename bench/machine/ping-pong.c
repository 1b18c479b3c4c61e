/* How far apart two cores are: one cache line goes to and fro for 80 ms. ping-pong CPU CPU: prints nanoseconds of a round trip. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static _Alignas(64) volatile uint64_t line;
static volatile int over;

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set)) perror("sched_setaffinity"), exit(1);
}

static void *answer(void *cpu) {
  pin(*(int *)cpu);
  for (uint64_t turn = 1; !over; turn += 2) {
    while (line != turn && !over) __builtin_ia32_pause();
    if (!over) line = turn + 1;
  }
  return NULL;
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int here = atoi(argv[1]), there = atoi(argv[2]);
  pthread_t thread;
  pthread_create(&thread, NULL, answer, &there);
  pin(here);
  static uint64_t took[100000];
  uint64_t turns = 0, begin = now();
  int blocks = 0;
  for (uint64_t start = begin; blocks < 100000 && start - begin < 80000000; blocks++) {
    for (int i = 0; i < 1000; i++, turns++) {
      line = 2 * turns + 1;
      while (line != 2 * turns + 2) __builtin_ia32_pause();
    }
    uint64_t end = now();
    took[blocks] = end - start;
    start = end;
  }
  over = 1;
  qsort(took, blocks, sizeof *took, ascending);
  printf("%lu\n", took[blocks / 2] / 1000);
  pthread_join(thread, NULL);
}
