/* SPDX-License-Identifier: Apache-2.0 */
/* See events.h; the buffer's protocol is that of Documentation/bpf/ringbuf.rst. */
#include "events.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int ovn_events_open(struct ovn_events *events, int map_fd, uint64_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	void *consumer, *producer;
	int error;

	memset(events, 0, sizeof(*events));
	events->fd = -1;
	consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (consumer == MAP_FAILED)
		return -errno;
	/* The data lie there twice, so that no record is in two parts. */
	producer = mmap(NULL, page + 2 * size, PROT_READ, MAP_SHARED, map_fd, (off_t)page);
	if (producer == MAP_FAILED) {
		error = errno;
		munmap(consumer, page);
		return -error;
	}
	events->fd = map_fd;
	events->size = size;
	events->consumer = consumer;
	events->producer = producer;
	events->data = (const char *)producer + page;
	return 0;
}

void ovn_events_close(struct ovn_events *events)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (events->fd < 0)
		return;
	munmap(events->consumer, page);
	munmap(events->producer, page + 2 * events->size);
	events->fd = -1;
}

int ovn_events_read(struct ovn_events *events, void *record, uint32_t room)
{
	uint64_t at = *events->consumer;

	while (at < __atomic_load_n(events->producer, __ATOMIC_ACQUIRE)) {
		const char *head = events->data + (at & (events->size - 1));
		uint32_t said = __atomic_load_n((const uint32_t *)head, __ATOMIC_ACQUIRE);
		uint32_t size = said & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		int found;

		if (said & BPF_RINGBUF_BUSY_BIT)
			return 0; /* another CPU is writing it */
		found = !(said & BPF_RINGBUF_DISCARD_BIT) && size <= room;
		if (found)
			memcpy(record, head + BPF_RINGBUF_HDR_SZ, size);
		at += (BPF_RINGBUF_HDR_SZ + size + 7) & ~7ull;
		__atomic_store_n(events->consumer, at, __ATOMIC_SEQ_CST);
		if (found)
			return (int)size;
	}
	return 0;
}
