// SPDX-License-Identifier: Apache-2.0
/*
 * bpf(2) and membarrier(2) for the agent.  Raw system calls, so that the
 * extension links with nothing; cffi releases the GIL around each.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "maps.h"
#include "ovn_bpf/slots.h"

/* Newer than the headers of Debian 12. */
#define OVN_BPF_TCX_INGRESS 46
#define OVN_BPF_TCX_EGRESS 47
#define OVN_MEMBARRIER_CMD_GLOBAL (1 << 0)

#define OVN_BUSY_TRIES 1000
#define OVN_INDEX_PART 1024 /* entries of an index that one system call writes */

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	long rc = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return rc < 0 ? -errno : (int)rc;
}

static uint64_t ptr(const void *p)
{
	return (uint64_t)(unsigned long)p;
}

int ovn_pinned(const char *path)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = ptr(path);
	return sys_bpf(BPF_OBJ_GET, &attr);
}

/* --- what an fd is ------------------------------------------------------ */

static int info_by_fd(int fd, void *info, uint32_t len)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = fd;
	attr.info.info_len = len;
	attr.info.info = ptr(info);
	return sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

int ovn_map_info(int fd, struct ovn_map_info *out)
{
	struct bpf_map_info info;
	int rc;

	memset(&info, 0, sizeof(info));
	rc = info_by_fd(fd, &info, sizeof(info));
	if (rc < 0)
		return rc;
	out->type = info.type;
	out->id = info.id;
	out->key_size = info.key_size;
	out->value_size = info.value_size;
	out->max_entries = info.max_entries;
	out->flags = info.map_flags;
	out->btf_id = info.btf_id;
	memcpy(out->name, info.name, sizeof(out->name));
	return 0;
}

int ovn_prog_info(int fd, struct ovn_prog_info *out)
{
	struct bpf_prog_info info;
	int rc;

	memset(&info, 0, sizeof(info));
	rc = info_by_fd(fd, &info, sizeof(info));
	if (rc < 0)
		return rc;
	out->type = info.type;
	out->id = info.id;
	memcpy(out->tag, info.tag, sizeof(out->tag));
	memcpy(out->name, info.name, sizeof(out->name));
	out->verified_insns = info.verified_insns;
	return 0;
}

int ovn_link_info(int fd, struct ovn_link_info *out)
{
	/* struct bpf_link_info: the kinds' union starts at an 8-byte boundary
	 * after three words; older headers do not know tcx's member of it. */
	uint32_t info[32];
	int rc;

	memset(info, 0, sizeof(info));
	rc = info_by_fd(fd, info, sizeof(info));
	if (rc < 0)
		return rc;
	out->type = info[0];
	out->id = info[1];
	out->prog_id = info[2];
	out->ifindex = info[4];
	out->attach_type = info[5];
	return 0;
}

/* --- entries -------------------------------------------------------------- */

int ovn_map_lookup(int fd, const void *key, void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = ptr(key);
	attr.value = ptr(value);
	return sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}

int ovn_map_update(int fd, const void *key, const void *value)
{
	union bpf_attr attr;
	int tries = 0;
	int rc;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = ptr(key);
	attr.value = ptr(value);
	attr.flags = BPF_ANY;
	while ((rc = sys_bpf(BPF_MAP_UPDATE_ELEM, &attr)) == -EBUSY && ++tries < OVN_BUSY_TRIES)
		sched_yield();
	return rc;
}

int ovn_map_delete(int fd, const void *key)
{
	union bpf_attr attr;
	int tries = 0;
	int rc;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = ptr(key);
	while ((rc = sys_bpf(BPF_MAP_DELETE_ELEM, &attr)) == -EBUSY && ++tries < OVN_BUSY_TRIES)
		sched_yield();
	return rc;
}

/* A batch, from *done on.  The kernel writes how many it did even on failure. */
static int batch(int cmd, uint64_t flags, int fd, const char *keys, const char *values,
		 uint32_t key_size, uint32_t value_size, uint32_t n, uint32_t *done)
{
	union bpf_attr attr;
	int rc;

	memset(&attr, 0, sizeof(attr));
	attr.batch.map_fd = fd;
	attr.batch.keys = ptr(keys + (size_t)*done * key_size);
	attr.batch.values = values ? ptr(values + (size_t)*done * value_size) : 0;
	attr.batch.count = n - *done;
	attr.batch.elem_flags = flags;
	rc = sys_bpf(cmd, &attr);
	if (rc == -EFAULT || rc == -EPERM || rc == -EBADF)
		return rc; /* count was not written */
	*done += attr.batch.count;
	return rc;
}

static int update(uint64_t flags, int fd, const void *keys, const void *values, uint32_t key_size,
		  uint32_t value_size, uint32_t n, uint32_t *done)
{
	int rc, tries = 0;

	for (*done = 0; *done < n;) {
		uint32_t before = *done;

		rc = batch(BPF_MAP_UPDATE_BATCH, flags, fd, keys, values, key_size, value_size, n,
			   done);
		if (rc == 0)
			break;
		if (*done > before)
			tries = 0;
		if ((rc != -EBUSY && rc != -EAGAIN) || ++tries >= OVN_BUSY_TRIES)
			return rc;
		sched_yield();
	}
	return 0;
}

int ovn_hash_update(int fd, const void *keys, const void *values, uint32_t key_size,
		    uint32_t value_size, uint32_t n, uint32_t *done)
{
	return update(0, fd, keys, values, key_size, value_size, n, done);
}

int ovn_index_update(int fd, const void *keys, const uint32_t *slots, uint32_t key_size, uint32_t n)
{
	struct ovn_ref refs[OVN_INDEX_PART];
	uint32_t at, i, part, done;
	int rc;

	memset(refs, 0, sizeof(refs));
	for (at = 0; at < n; at += part) {
		part = n - at < OVN_INDEX_PART ? n - at : OVN_INDEX_PART;
		for (i = 0; i < part; i++)
			refs[i].slot = slots[at + i];
		rc = update(BPF_F_LOCK, fd, (const char *)keys + (size_t)at * key_size, refs,
			    key_size, sizeof(refs[0]), part, &done);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int ovn_hash_delete(int fd, const void *keys, uint32_t key_size, uint32_t n, uint32_t *done)
{
	int rc, tries = 0;

	for (*done = 0; *done < n;) {
		uint32_t before = *done;

		rc = batch(BPF_MAP_DELETE_BATCH, 0, fd, keys, NULL, key_size, 0, n, done);
		if (rc == 0)
			break;
		if (*done > before)
			tries = 0;
		if (rc == -ENOENT) {
			(*done)++;
			continue;
		}
		if ((rc != -EBUSY && rc != -EAGAIN) || ++tries >= OVN_BUSY_TRIES)
			return rc;
		sched_yield();
	}
	return 0;
}

int ovn_map_dump(int fd, uint64_t *cursor, void *keys, void *values, uint32_t n, int locked,
		 int *more)
{
	/* The kernel's cursor is a 32-bit bucket number; ours is that plus 1. */
	uint32_t in = (uint32_t)*cursor - 1, out = 0;
	union bpf_attr attr;
	int rc;

	memset(&attr, 0, sizeof(attr));
	attr.batch.map_fd = fd;
	attr.batch.in_batch = *cursor ? ptr(&in) : 0;
	attr.batch.out_batch = ptr(&out);
	attr.batch.keys = ptr(keys);
	attr.batch.values = ptr(values);
	attr.batch.count = n;
	attr.batch.elem_flags = locked ? BPF_F_LOCK : 0;
	rc = sys_bpf(BPF_MAP_LOOKUP_BATCH, &attr);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	*more = rc == 0;
	*cursor = (uint64_t)out + 1;
	return attr.batch.count;
}

int ovn_hash_dump(int fd, uint64_t *cursor, void *keys, void *values, uint32_t n, int *more)
{
	return ovn_map_dump(fd, cursor, keys, values, n, 0, more);
}

/* --- arrays in memory --------------------------------------------------------- */

int ovn_memory_reserve(void *at, uint64_t length)
{
	return mprotect(at, length, PROT_NONE) < 0 ? -errno : 0;
}

int ovn_memory_map(void *at, int fd, uint64_t offset, uint64_t length)
{
	void *got =
		mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset);

	return got == MAP_FAILED ? -errno : 0;
}

/* --- ordering ------------------------------------------------------------- */

/* Updating an array of maps waits for programs to end, on kernels where
 * membarrier refuses (nohz_full). */
static int grace_by_map(void)
{
	union bpf_attr attr;
	uint32_t zero = 0;
	int inner, outer, rc;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = attr.value_size = sizeof(uint32_t);
	attr.max_entries = 1;
	inner = sys_bpf(BPF_MAP_CREATE, &attr);
	if (inner < 0)
		return inner;
	attr.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS;
	attr.inner_map_fd = inner;
	outer = sys_bpf(BPF_MAP_CREATE, &attr);
	if (outer >= 0) {
		rc = ovn_map_update(outer, &zero, &inner);
		close(outer);
	} else {
		rc = outer;
	}
	close(inner);
	return rc;
}

int ovn_grace_period(void)
{
	if (syscall(SYS_membarrier, OVN_MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return 0;
	return grace_by_map();
}

void ovn_publish(uint32_t *where, uint32_t value)
{
	__atomic_store_n(where, value, __ATOMIC_RELEASE);
}

/* --- programs --------------------------------------------------------------- */

int ovn_tcx_attach(int prog_fd, uint32_t ifindex, int egress)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = prog_fd;
	attr.link_create.target_ifindex = ifindex;
	attr.link_create.attach_type = egress ? OVN_BPF_TCX_EGRESS : OVN_BPF_TCX_INGRESS;
	return sys_bpf(BPF_LINK_CREATE, &attr);
}

int ovn_test_run(struct ovn_test_run *run)
{
	union bpf_attr attr;
	int rc;

	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = run->prog_fd;
	attr.test.repeat = run->repeat;
	attr.test.data_in = ptr(run->data_in);
	attr.test.data_size_in = run->data_in_len;
	attr.test.data_out = ptr(run->data_out);
	attr.test.data_size_out = run->data_out_len;
	if (run->ctx) {
		attr.test.ctx_in = attr.test.ctx_out = ptr(run->ctx);
		attr.test.ctx_size_in = attr.test.ctx_size_out = run->ctx_len;
	}
	rc = sys_bpf(BPF_PROG_TEST_RUN, &attr);
	run->data_out_len = attr.test.data_size_out;
	run->retval = attr.test.retval;
	run->duration = attr.test.duration;
	return rc;
}
