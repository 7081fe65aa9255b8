/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All maps.  The sizes here are the least that loads; the agent sets the real
 * ones before loading (ovn_bpf_controller/datapath/loader.py).  Arrays that
 * the agent writes are mmapable, so that a slot costs it no system call.
 */
#ifndef OVN_BPF_MAPS_H
#define OVN_BPF_MAPS_H

#include "bounds.h"

/* Control block: the live generation and what the kernel can do. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ovn_ctl);
} ovn_ctl SEC(".maps");

#define OVN_SLOTS(map, kind)                       \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(max_entries, 1024);         \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__type(key, __u32);                \
		__type(value, kind);               \
	} map SEC(".maps")

#define OVN_INDEX(map, kind)                          \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_HASH);      \
		__uint(max_entries, 1024);            \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__type(key, kind);                    \
		__type(value, struct ovn_ref);        \
	} map SEC(".maps")

/* Which words a rule looks at, under which masks. */
OVN_SLOTS(ovn_masks, struct ovn_mask);
/* The masks of a stage, best priority first. */
OVN_SLOTS(ovn_tuples, struct ovn_tuple);
/* Stages: (datapath, pipeline, table). */
OVN_SLOTS(ovn_stages, struct ovn_stage);
/* Rules by key, small: up to 8 words. */
OVN_INDEX(ovn_idx_s, struct ovn_key_s);
OVN_SLOTS(ovn_rules_s, struct ovn_rule_s);
/* Rules by key, middle: up to 16 words. */
OVN_INDEX(ovn_idx_m, struct ovn_key_m);
OVN_SLOTS(ovn_rules_m, struct ovn_rule_m);
/* Rules by key, large: up to 40 words. */
OVN_INDEX(ovn_idx_l, struct ovn_key_l);
OVN_SLOTS(ovn_rules_l, struct ovn_rule_l);
/* Sets by member: value and prefix length, or logical port. */
OVN_INDEX(ovn_set_idx, struct ovn_set_key);
OVN_SLOTS(ovn_sets, struct ovn_set_list);
/* Prefix lengths of set members, by kind. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OVN_SET_KINDS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ovn_set_plens);
} ovn_set_plens SEC(".maps");
/* Action lists. */
OVN_SLOTS(ovn_insns, struct ovn_insn);
/* Logical ports by (datapath, port). */
OVN_INDEX(ovn_port_idx, struct ovn_port_key);
OVN_SLOTS(ovn_ports, struct ovn_port);
/* Logical port of a device, or of a VLAN on it. */
OVN_INDEX(ovn_ifports, struct ovn_ifport_key);
/* Multicast groups by (datapath, group). */
OVN_INDEX(ovn_mc_idx, struct ovn_port_key);
OVN_SLOTS(ovn_mcgroups, struct ovn_mcgroup);
/* Members of the groups: port keys, then chassis indices. */
OVN_SLOTS(ovn_members, __u32);
/* Datapaths by index: key and NAT zones. */
OVN_SLOTS(ovn_datapaths, struct ovn_datapath);
/* Other chassis: how to reach them. */
OVN_SLOTS(ovn_chassis, struct ovn_chassis);
/* Underlay addresses that tunnel packets are taken from. */
OVN_INDEX(ovn_peers, struct ovn_peer_key);

/* MAC addresses learnt on ports with unknown addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* see fdb_learn() */
	__type(key, struct ovn_fdb_key);
	__type(value, struct ovn_fdb);
} ovn_fdb SEC(".maps");

/* Neighbours of logical routers; the oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ovn_mac_key);
	__type(value, struct ovn_mac);
} ovn_macs SEC(".maps");

/* Bindings of the Southbound that age, and when each was used last. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ovn_mac_key);
	__type(value, struct ovn_mac);
} ovn_mac_used SEC(".maps");

/* What was learnt just now, for the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} ovn_news SEC(".maps");

/* Dropped packets and bytes by reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_MAX);
	__type(key, __u32);
	__type(value, struct ovn_count);
} ovn_drops SEC(".maps");

/* The same on the walk, with datapath, flow and table; the oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ovn_drop_key);
	__type(value, struct ovn_count);
} ovn_drop_flows SEC(".maps");

/* Packets and bytes by logical flow number. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct ovn_flow_page);
} ovn_flows SEC(".maps");

/* Packets that entered, stages looked up and hash probes made. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ovn_work);
} ovn_work SEC(".maps");

/* Packets for the slow path. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} ovn_punts SEC(".maps");
/* What each source may still send there; the oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ovn_punt_source);
	__type(value, struct ovn_punt_bucket);
} ovn_punt_rate SEC(".maps");
/* The packet that comes back from there. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ovn_punt);
} ovn_resume_ctl SEC(".maps");

/* Answers made ready, by verb and argument. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ovn_template_key);
	__type(value, struct ovn_template);
} ovn_templates SEC(".maps");
/* DNS names by datapath. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ovn_name_key);
	__type(value, struct ovn_name);
} ovn_names SEC(".maps");
/* Packets answered by them. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OVN_SERVED);
	__type(key, __u32);
	__type(value, struct ovn_count);
} ovn_served SEC(".maps");

/* The packet that ovn_trace tries. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ovn_trace_ctl);
} ovn_trace_ctl SEC(".maps");
/* What it went through. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OVN_TRACE_EVENTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ovn_trace_event);
} ovn_trace_log SEC(".maps");

/* Programs that others end in; each build has one of its own. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, OVN_CALL_MAX);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} ovn_calls SEC(".maps");

/* The kernel writes a look-up out and moves the rest of the program for it, at each start.
 * So maps that many ask have a function of their own; array_at() is for who is asked by
 * each packet, or has no call left. */
static __always_inline void *array_at(void *map, __u32 index)
{
	return bpf_map_lookup_elem(map, &index);
}

static __noinline struct ovn_ctl *control(void)
{
	return array_at(&ovn_ctl, 0);
}

static __noinline const struct ovn_insn *insn_at(__u32 pc)
{
	return array_at(&ovn_insns, pc);
}

#endif
