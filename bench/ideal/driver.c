/*
 * The anchor: what bench/packet-loop.mjs does, in C. Buffers from a pool that is last in, first out; header and packet written, a descriptor
 * each, one publication a batch with the barrier and the look at the device's wish behind it; transmitted buffers taken back late; of a received
 * packet one word is read and its buffer given back.
 *
 * driver DEVICE FORMAT MODE SIZE BATCH LENGTH WINDOWS MILLISECONDS CPU DEVICE_CPU
 * One line a window: packets, nanoseconds, polls, empty polls, nanoseconds both threads ran.
 */
#include "ring.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_STRIDE 1536
#define TRANSMIT_STRIDE 2112
#define BASE (2 << 20)
#define RING_BYTES (64 << 10)

struct ring {
  uint16_t size, next, seen;
  int next_wrap, seen_wrap, batch;
  uint32_t buffers, stride; /* where the buffers begin in memory, and how far they are apart */
  struct split_descriptor *split;
  struct available *available;
  struct used *used;
  struct packed_descriptor *packed;
  struct event_suppression *device_events;
  struct packed_descriptor *first; /* of the batch, with the flags it will get */
  uint16_t first_flags;
  uint16_t *pool;
  int free;
  uint64_t notifications;
};

static uint8_t *memory;
static uint8_t frame[2048];
static volatile uint32_t sink;

always_inline void add(struct ring *r, enum format format, uint16_t id, uint32_t at, uint32_t length, uint16_t write) {
  if (format == SPLIT) {
    r->split[id] = (struct split_descriptor){BASE + at, length, write, 0};
    r->available->ring[r->next & (r->size - 1)] = id;
    r->next++;
    return;
  }
  struct packed_descriptor *d = &r->packed[r->next];
  uint16_t flags = available_flags(r->next_wrap) | write;
  d->address = BASE + at, d->length = length, d->id = id;
  if (r->first == NULL) r->first = d, r->first_flags = flags;
  else store_release(&d->flags, flags);
  if (++r->next == r->size) r->next = 0, r->next_wrap ^= 1;
}

always_inline void publish(struct ring *r, enum format format) {
  if (format == SPLIT) {
    __atomic_store_n(&r->available->index, r->next, __ATOMIC_SEQ_CST);
    if (!(r->used->flags & NO_NOTIFY)) r->notifications++;
    return;
  }
  if (r->first == NULL) return;
  __atomic_store_n(&r->first->flags, r->first_flags, __ATOMIC_SEQ_CST);
  r->first = NULL;
  if (r->device_events->flags != DISABLE) r->notifications++;
}

/* @returns how many used buffers there were, at most a batch */
always_inline int pop(struct ring *r, enum format format, uint16_t *ids) {
  int count = 0;
  if (format == SPLIT) {
    count = (uint16_t)(load_acquire(&r->used->index) - r->seen);
    if (count > r->batch) count = r->batch;
    for (int i = 0; i < count; i++) ids[i] = r->used->ring[(r->seen + i) & (r->size - 1)].id;
    r->seen += count;
    return count;
  }
  for (; count < r->batch; count++) {
    struct packed_descriptor *d = &r->packed[r->seen];
    if ((load_acquire(&d->flags) & (AVAILABLE | USED)) != used_flags(r->seen_wrap)) break;
    ids[count] = d->id;
    if (++r->seen == r->size) r->seen = 0, r->seen_wrap ^= 1;
  }
  return count;
}

always_inline int send_batch(struct ring *r, enum format format, int length) {
  uint16_t ids[256];
  while (r->free < r->batch) {
    int count = pop(r, format, ids);
    if (count == 0) break;
    for (int i = 0; i < count; i++) r->pool[r->free++] = ids[i];
  }
  int sent = 0;
  for (; sent < r->batch && r->free > 0; sent++) {
    uint16_t id = r->pool[--r->free];
    uint32_t at = r->buffers + id * r->stride + 16 - HEADER;
    memset(memory + at, 0, HEADER);
    if (length == 64) memcpy(memory + at + HEADER, frame, 64);
    else memcpy(memory + at + HEADER, frame, length);
    add(r, format, id, at, HEADER + length, 0);
  }
  if (sent > 0) publish(r, format);
  return sent;
}

always_inline int receive_batch(struct ring *r, enum format format) {
  uint16_t ids[256];
  int count = pop(r, format, ids);
  for (int i = 0; i < count; i++) {
    uint32_t at = r->buffers + ids[i] * r->stride;
    sink ^= *(uint32_t *)(memory + at + HEADER);
    add(r, format, ids[i], at, 1534, WRITE);
  }
  if (count > 0) publish(r, format);
  return count;
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t ran(int pid) {
  char path[64];
  unsigned long long nanoseconds = 0;
  snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", pid, pid);
  FILE *file = fopen(path, "r");
  if (file == NULL || fscanf(file, "%llu", &nanoseconds) != 1) fail(path);
  fclose(file);
  return nanoseconds;
}

always_inline void measure(struct ring *receive, struct ring *transmit, enum format format, enum mode mode, int length,
                           int windows, uint64_t window, int device) {
  for (int i = -2; i < windows; i++) {
    uint64_t packets = 0, polls = 0, empty = 0, mine = ran(getpid()), its = ran(device), start = now(), end;
    do {
      for (int k = 0; k < 64; k++) {
        int sent = mode == RECEIVE ? 0 : send_batch(transmit, format, length);
        int got = mode == TRANSMIT ? 0 : receive_batch(receive, format);
        int count = mode == TRANSMIT ? sent : got;
        packets += count;
        polls++;
        if (count == 0) empty++, relax();
      }
      end = now();
    } while (end - start < window);
    if (i < 0) continue; /* the first ones warm up */
    printf("%lu %lu %lu %lu %lu %lu\n", packets, end - start, polls, empty, ran(getpid()) - mine, ran(device) - its);
  }
}

static struct ring make(enum format format, int size, int batch, uint32_t at, uint32_t buffers, uint32_t stride, char **addresses) {
  struct ring r = {.size = size, .next_wrap = 1, .seen_wrap = 1, .batch = batch, .buffers = buffers, .stride = stride};
  uint32_t driver = at + 16 * size, device = driver + (format == SPLIT ? (6 + 2 * size + 63) & ~63 : 64);
  r.split = (void *)(memory + at), r.packed = (void *)(memory + at);
  r.available = (void *)(memory + driver), r.used = (void *)(memory + device);
  r.device_events = (void *)(memory + device);
  if (format == SPLIT) r.available->flags = 1;                         /* no interrupts */
  else ((struct event_suppression *)(memory + driver))->flags = DISABLE;
  r.pool = malloc(size * sizeof *r.pool);
  for (int i = size - 1; i >= 0; i--) r.pool[r.free++] = i;
  uint32_t areas[3] = {at, driver, device};
  for (int i = 0; i < 3; i++) asprintf(&addresses[i], "%u", areas[i] + BASE);
  return r;
}

int main(int argc, char **argv) {
  if (argc != 11) return fprintf(stderr, "%d arguments\n", argc), 2;
  enum format format = format_of(argv[2]);
  enum mode mode = mode_of(argv[3]);
  int size = atoi(argv[4]), batch = atoi(argv[5]), length = atoi(argv[6]);
  int windows = atoi(argv[7]);
  uint64_t window = atoll(argv[8]) * 1000000ull;
  size_t total = 2 * RING_BYTES + size * (RECEIVE_STRIDE + TRANSMIT_STRIDE);
  total = (total + (2 << 20) - 1) & ~((2ul << 20) - 1);
  int fd = memfd_create("ideal", 0);
  if (fd < 0 || ftruncate(fd, total)) fail("memfd");
  memory = map(fd, total);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char base[16], *addresses[6];
  snprintf(base, sizeof base, "%d", BASE);
  uint32_t buffers = 2 * RING_BYTES;
  struct ring receive = make(format, size, batch, 0, buffers, RECEIVE_STRIDE, addresses);
  struct ring transmit = make(format, size, batch, RING_BYTES, buffers + size * RECEIVE_STRIDE, TRANSMIT_STRIDE, addresses + 3);
  frame[5] = 2, frame[12] = 0x88, frame[13] = 0xb5;
  pin(atoi(argv[9]));

  int words[2];
  if (pipe(words)) fail("pipe");
  int device = fork();
  if (device == 0) {
    dup2(words[1], 1);
    if (fd == 3) fd = dup(fd);
    dup2(fd, 3);
    execl(argv[1], argv[1], argv[2], argv[3], argv[4], base, argv[10], argv[6], addresses[0], addresses[1], addresses[2], addresses[3],
          addresses[4], addresses[5], NULL);
    fail(argv[1]);
  }
  close(words[1]);
  char ready;
  if (read(words[0], &ready, 1) != 1) fail("the device did not start");
  for (; receive.free > 0 && mode != TRANSMIT;) {
    uint16_t id = receive.pool[--receive.free];
    add(&receive, format, id, buffers + id * RECEIVE_STRIDE, 1534, WRITE);
  }
  publish(&receive, format);
#define MEASURE(f, m) if (format == f && mode == m) measure(&receive, &transmit, f, m, length, windows, window, device)
  MEASURE(SPLIT, TRANSMIT); MEASURE(SPLIT, RECEIVE); MEASURE(SPLIT, ROUND_TRIP);
  MEASURE(PACKED, TRANSMIT); MEASURE(PACKED, RECEIVE); MEASURE(PACKED, ROUND_TRIP);
  kill(device, SIGKILL);
  waitpid(device, NULL, 0);
  if (receive.notifications + transmit.notifications > 2) fprintf(stderr, "%lu notifications\n", receive.notifications + transmit.notifications);
}
