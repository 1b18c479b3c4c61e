/*
 * The ideal device: takes from the transmit queue and gives to the receive queue as fast as the memory allows, and does nothing else.
 * No protocol, no notifications, no checks (it trusts the driver as no real device may), packets prefetched and copied.
 *
 * device FORMAT MODE SIZE BASE CPU LENGTH  then device addresses: descriptor, driver and device area of the receive queue, of the transmit queue
 * The memory is descriptor 3; device address BASE is its first byte. Says "ready", runs until it is killed.
 */
#include "ring.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

struct queue {
  enum format format;
  uint16_t size;
  struct split_descriptor *split;
  struct available *available;
  struct used *used;
  struct packed_descriptor *packed;
  struct event_suppression *device_events;
  uint16_t next, given;    /* split: free running; packed: positions in the ring */
  int next_wrap, given_wrap;
};

struct buffer { uint8_t *at; uint32_t length; uint16_t id; };

static uint8_t *memory;
static uint64_t base;

always_inline void touch(uint8_t *at, int bytes, int write) {
  for (uint8_t *line = (uint8_t *)((uintptr_t)at & ~63ul); line < at + bytes; line += 64) {
    if (write) __builtin_prefetch(line, 1);
    else __builtin_prefetch(line, 0);
  }
}

always_inline int take_split(struct queue *q, struct buffer *buffers, int most, int bytes, int write) {
  int count = (uint16_t)(load_acquire(&q->available->index) - q->next);
  if (count > most) count = most;
  for (int i = 0; i < count; i++) {
    uint16_t id = q->available->ring[(q->next + i) & (q->size - 1)];
    buffers[i].id = id;
    __builtin_prefetch(&q->split[id], 0);
  }
  for (int i = 0; i < count; i++) {
    struct split_descriptor *d = &q->split[buffers[i].id];
    buffers[i].at = memory + (d->address - base);
    buffers[i].length = d->length;
    touch(buffers[i].at, bytes, write);
  }
  q->next += count;
  return count;
}

always_inline void give_split(struct queue *q, struct buffer *buffers, int count, uint32_t written) {
  for (int i = 0; i < count; i++)
    q->used->ring[(q->given + i) & (q->size - 1)] = (struct used_element){buffers[i].id, written};
  q->given += count;
  store_release(&q->used->index, q->given);
}

always_inline int take_packed(struct queue *q, struct buffer *buffers, int most, int bytes, int write) {
  int count = 0;
  for (; count < most; count++) {
    struct packed_descriptor *d = &q->packed[q->next];
    uint16_t flags = load_acquire(&d->flags);
    if ((flags & (AVAILABLE | USED)) != available_flags(q->next_wrap)) break;
    __builtin_prefetch(d + 8, 0);
    buffers[count] = (struct buffer){memory + (d->address - base), d->length, d->id};
    touch(buffers[count].at, bytes, write);
    if (++q->next == q->size) q->next = 0, q->next_wrap ^= 1;
  }
  return count;
}

/* The first descriptor's flags last: a driver that sees it used sees the whole batch. */
always_inline void give_packed(struct queue *q, struct buffer *buffers, int count, uint32_t written) {
  struct packed_descriptor *first = &q->packed[q->given];
  uint16_t first_flags = used_flags(q->given_wrap);
  for (int i = 0; i < count; i++) {
    struct packed_descriptor *d = &q->packed[q->given];
    d->length = written;
    d->id = buffers[i].id;
    if (i > 0) store_release(&d->flags, used_flags(q->given_wrap));
    if (++q->given == q->size) q->given = 0, q->given_wrap ^= 1;
  }
  store_release(&first->flags, first_flags);
}

always_inline int take(struct queue *q, enum format format, struct buffer *buffers, int most, int bytes, int write) {
  return format == SPLIT ? take_split(q, buffers, most, bytes, write) : take_packed(q, buffers, most, bytes, write);
}

always_inline void give(struct queue *q, enum format format, struct buffer *buffers, int count, uint32_t written) {
  if (format == SPLIT) give_split(q, buffers, count, written);
  else give_packed(q, buffers, count, written);
}

/* A length the compiler knows makes the copy of the small packet a few moves. */
always_inline void copy(uint8_t *to, const uint8_t *from, int bytes) {
  if (bytes == HEADER + 64) memcpy(to, from, HEADER + 64);
  else memcpy(to, from, bytes);
}

always_inline void serve(struct queue *receive, struct queue *transmit, enum format format, enum mode mode, int bytes) {
  static uint8_t local[BURST][2048] __attribute__((aligned(64)));
  struct buffer in[BURST], out[BURST];
  /* VIRTIO_NET_HDR: num_buffers is 1; then an Ethernet frame of an experimental type */
  for (int i = 0; i < BURST; i++) local[i][10] = 1, local[i][HEADER + 5] = 2, local[i][HEADER + 12] = 0x88, local[i][HEADER + 13] = 0xb5;
  for (;;) {
    int count = BURST;
    if (mode != TRANSMIT) {
      /* As many as there will be packets for: what is taken must be given. */
      if (mode == ROUND_TRIP) {
        count = take(transmit, format, out, BURST, bytes, 0);
        for (int got = 0; got < count;) got += take(receive, format, in + got, count - got, bytes, 1);
      } else count = take(receive, format, in, BURST, bytes, 1);
      for (int i = 0; i < count; i++) {
        copy(in[i].at, mode == ROUND_TRIP ? out[i].at : local[i], bytes);
        if (mode == ROUND_TRIP) in[i].at[10] = 1;
      }
      if (count > 0) give(receive, format, in, count, bytes);
      if (count > 0 && mode == ROUND_TRIP) give(transmit, format, out, count, 0);
    } else {
      count = take(transmit, format, out, BURST, bytes, 0);
      for (int i = 0; i < count; i++) copy(local[i], out[i].at, bytes);
      if (count > 0) give(transmit, format, out, count, 0);
    }
    if (count == 0) relax();
  }
}

static struct queue queue(enum format format, int size, char **addresses) {
  uint8_t *area[3];
  for (int i = 0; i < 3; i++) area[i] = memory + (strtoull(addresses[i], NULL, 10) - base);
  struct queue q = {.format = format, .size = size, .next_wrap = 1, .given_wrap = 1};
  if (format == SPLIT) {
    q.split = (void *)area[0], q.available = (void *)area[1], q.used = (void *)area[2];
    q.used->flags = NO_NOTIFY;
  } else {
    q.packed = (void *)area[0], q.device_events = (void *)area[2];
    q.device_events->flags = DISABLE;
  }
  return q;
}

int main(int argc, char **argv) {
  if (argc != 13) return fprintf(stderr, "%d arguments\n", argc), 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  enum format format = format_of(argv[1]);
  enum mode mode = mode_of(argv[2]);
  int size = atoi(argv[3]);
  base = strtoull(argv[4], NULL, 10);
  pin(atoi(argv[5]));
  int bytes = HEADER + atoi(argv[6]);
  struct stat info;
  if (fstat(3, &info)) fail("fstat");
  memory = map(3, info.st_size);
  struct queue receive = queue(format, size, argv + 7), transmit = queue(format, size, argv + 10);
  puts("ready");
  fflush(stdout);
#define SERVE(f, m) if (format == f && mode == m) serve(&receive, &transmit, f, m, bytes)
  SERVE(SPLIT, TRANSMIT); SERVE(SPLIT, RECEIVE); SERVE(SPLIT, ROUND_TRIP);
  SERVE(PACKED, TRANSMIT); SERVE(PACKED, RECEIVE); SERVE(PACKED, ROUND_TRIP);
}
