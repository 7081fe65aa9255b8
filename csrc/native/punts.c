/* SPDX-License-Identifier: Apache-2.0 */
/* See punts.h; the ring's protocol is that of perf_event_open(2). */
#include "punts.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "maps.h"

int ovn_ring_open(struct ovn_ring *ring, int map_fd, uint32_t cpu, uint32_t order)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_type = PERF_SAMPLE_RAW,
		.sample_period = 1,
		.wakeup_events = 1,
	};
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	int error;

	memset(ring, 0, sizeof(*ring));
	ring->map_fd = -1;
	ring->fd = (int)syscall(SYS_perf_event_open, &attr, -1, (int)cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (ring->fd < 0)
		return -errno;
	ring->size = page << order;
	ring->pages =
		mmap(NULL, page + ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (ring->pages == MAP_FAILED) {
		error = errno;
		close(ring->fd);
		ring->fd = -1;
		return -error;
	}
	if (ioctl(ring->fd, PERF_EVENT_IOC_ENABLE, 0) < 0) {
		error = errno;
		ovn_ring_close(ring);
		return -error;
	}
	error = ovn_map_update(map_fd, &cpu, &ring->fd);
	if (error < 0) {
		ovn_ring_close(ring);
		return error;
	}
	ring->map_fd = map_fd;
	ring->cpu = cpu;
	return 0;
}

void ovn_ring_close(struct ovn_ring *ring)
{
	if (ring->fd < 0)
		return;
	/* The kernel does it for a process that dies, when its map_fd goes. */
	if (ring->map_fd >= 0)
		ovn_map_delete(ring->map_fd, &ring->cpu);
	munmap(ring->pages, (uint64_t)sysconf(_SC_PAGESIZE) + ring->size);
	close(ring->fd);
	ring->fd = -1;
}

/* Bytes from `at` on, round the end of the ring. */
static void take(const struct ovn_ring *ring, uint64_t at, void *to, uint64_t n)
{
	const char *base = (const char *)ring->pages + sysconf(_SC_PAGESIZE);
	uint64_t from = at & (ring->size - 1), first = ring->size - from;

	if (first > n)
		first = n;
	memcpy(to, base + from, first);
	memcpy((char *)to + first, base, n - first);
}

uint64_t ovn_ring_waiting(const struct ovn_ring *ring)
{
	const struct perf_event_mmap_page *control = ring->pages;

	return __atomic_load_n(&control->data_head, __ATOMIC_ACQUIRE) - control->data_tail;
}

int ovn_ring_read(struct ovn_ring *ring, void *sample, uint32_t room)
{
	struct perf_event_mmap_page *control = ring->pages;
	uint64_t tail = control->data_tail;

	while (tail != __atomic_load_n(&control->data_head, __ATOMIC_ACQUIRE)) {
		struct perf_event_header header;
		uint64_t lost[2];
		uint32_t size = 0;
		int found = 0;

		take(ring, tail, &header, sizeof(header));
		if (header.type == PERF_RECORD_LOST) {
			take(ring, tail + sizeof(header), lost, sizeof(lost));
			ring->lost += lost[1];
		} else if (header.type == PERF_RECORD_SAMPLE) {
			take(ring, tail + sizeof(header), &size, sizeof(size));
			found = size <= room;
			if (found)
				take(ring, tail + sizeof(header) + sizeof(size), sample, size);
			else
				ring->lost++;
		}
		tail += header.size;
		__atomic_store_n(&control->data_tail, tail, __ATOMIC_RELEASE);
		if (found)
			return (int)size;
	}
	return 0;
}
