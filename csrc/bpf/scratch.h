/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What one packet has on its way: the context (struct pkt), the words as the
 * frame holds them, the stack of work left, contexts put aside.  It lives in a
 * per-CPU array indexed by nesting depth, because a clone that is redirected
 * can enter a program again before the first one is done.
 */
#ifndef OVN_BPF_SCRATCH_H
#define OVN_BPF_SCRATCH_H

#include "bounds.h"
#include "maps.h"
#include "packet.h"

enum quote_kind {
	QUOTE_NONE = 0, /* the packet is no ICMP error */
	QUOTE_GOOD,
	QUOTE_BAD, /* an ICMP error about nothing that could be tracked: invalid */
};

/*
 * The packet that an ICMP error quotes, in the direction in which it was sent
 * (a true error's destination is its source).  Fields are as those of the packet
 * itself in words OW_IP_SRC, OW_IP_DST, OW_L4_PORTS and in pkt.icmp_id.  Who
 * translates the packet changes addresses, ports and id; store() does the rest.
 */
struct quoted {
	__u32 kind; /* enum quote_kind */
	__u32 proto;
	__u32 src[4]; /* IPv4 in the last, others 0 */
	__u32 dst[4];
	__u32 ports;   /* src << 16 | dst; ICMP: type << 16 | code; others 0 */
	__u32 icmp_id; /* of a query */
};

/* What the tracker found out about a packet, good for one zone: the words may have
 * been cleared since, and the addresses translated. */
struct ct_seen {
	__u32 conn;  /* in ovn_conns; 0: none */
	__u32 birth; /* of that connection */
	__u16 zone;
	__u8 state;  /* enum ovn_ct_state; TRK: it was looked up */
	__u8 dir;    /* enum ovn_ct_dir */
	__u32 flags; /* SEEN_* */
};

enum ct_seen_flag {
	SEEN_NATTED = 1 << 0,  /* translated in this zone */
	SEEN_RELATED = 1 << 1, /* an ICMP error: ct_work.related */
};

/* What a clone or a group member gets a copy of. */
struct pkt {
	__u32 w[OVN_WORDS];
	__u32 icmp_id;	     /* identifier of an ICMP query (echo, timestamp), else 0 */
	struct quoted inner; /* of an ICMP error */
	__u32 dp_index;	     /* whose stages we walk */
	__u32 out_slot;	     /* in ovn_ports, once in the egress pipeline */
	__u32 egress;	     /* 0 ingress pipeline, 1 egress */
	__u32 queue;	     /* skb->priority that it leaves with */
	__u32 reply;	     /* 0: the frame that came, else what answers it: enum
			      * reply_kind, a NA's flags << 24 */
	__u32 flow;	     /* the logical flow that matched last, */
	__u32 table;	     /* and the table it is of */
	struct ct_seen ct;
} __attribute__((aligned(8))); /* copied in long words */

enum reply_kind {
	REPLY_NA = 1,
	REPLY_ERROR = 2,
	REPLY_RESET = 3,
	REPLY_ABORT = 4,
	REPLY_SERVED = 5, /* ovn_serve's, written already; others still need the frame */
};

enum frame_kind {
	FR_NONE = 0,
	FR_LOOKUP,   /* go on in table `table` */
	FR_ACTS,     /* go on at instruction pc */
	FR_RESULT,   /* OW_RESULT & b -> bit a of word `table` */
	FR_RESTORE,  /* take back saved context i */
	FR_GROUP,    /* member i of `left`, the first at pc; context in saved */
	FR_GROUP_RX, /* the same for a packet that came through a tunnel */
	FR_REMOTE,   /* copy for chassis pc.. of deferred send i */
	FR_CT,	     /* the instruction at pc, an OP_CT */
	FR_PUNT,     /* the same, an OP_PUNT; i 1: for the slow path, not for us */
	FR_OUTPUT,   /* output, in the ingress pipeline */
};

struct frame {
	__u16 kind;
	__u16 table;
	__u32 pc;
	__u32 i;
	__u32 left;
};

/* A send to other chassis that waits until all local work is done, because
 * encapsulation cannot be undone. */
struct deferred {
	struct pkt pkt;
	__u32 first; /* in ovn_members, or the chassis itself when n is 0 */
	__u32 n;
};

/* How a packet came to ovn_run. */
enum way {
	WAY_ON = 0, /* it is on its walk */
	WAY_DEVICE,
	WAY_TUNNEL,
	WAY_SLOWPATH,
	WAY_TRACE,
	WAY_SERVED, /* the frame is ovn_serve's answer now */
};

#define WIRE_WORDS 32

/* The sets that one field of the packet is a member of, while it stays so. */
struct memberships {
	__u32 n;
	__u32 kind; /* enum ovn_set_kind; 0: not looked up yet */
	__u32 v[4]; /* for which value */
	__u32 over; /* there were more than fit */
	__u32 ids[OVN_MAX_SETS];
};

/* What the tracker works with while it has a packet in hand. */
struct ct_work {
	struct ovn_ct_tuple key;      /* the packet, as it enters */
	struct ovn_ct_tuple opposite; /* of the connection, in the other direction */
	struct ovn_ct_tuple orig;     /* in the original one: ct_nw_dst and so on */
	__u32 conn;		      /* found, or made: 0 for none */
	__u32 birth;
	__u32 dir;
	__u32 flags;   /* of the connection: enum ovn_ct_flag */
	__u32 related; /* an ICMP error: key is about what it quotes, reversed */
	__u32 peek;    /* the packet changes nothing: an error, a later fragment, a trace */
	__u32 mark;
	__u32 label[4];
	__u32 seq;
	__u32 ack;
	__u32 tcp_flags;
	__u32 payload; /* bytes behind the TCP header */
	__u32 win;
	__u32 wscale; /* of a SYN: OVN_WSCALE_* */
	__u32 bare;   /* there is no TCP header to read: only flags are known; SCTP: nothing */
	__u32 chunks; /* SCTP, whose tag is seq and whose INIT's tag is ack: types, as bits */
	__u32 events; /* those that matter, in order, 4 bits each, the first lowest */
	__u32 n_events;
	__u32 reflected;	    /* the tag is the receiver's own: bit T */
	__u32 bad;		    /* chunks that cannot be together */
	__u32 passes;		    /* the packet is none that keeps an association alive */
	struct ovn_ct_peer was[2];  /* SCTP: the association as it was found, */
	struct ovn_ct_peer peer[2]; /* and as it will be */
};

/* The best connection to end so far, when there is no room. */
struct ct_victim {
	__u64 now;
	__u64 used;
	__u32 conn;
	__u32 birth;
	__u32 class; /* enum ovn_ct_counter, of which the least is best; 0: none yet */
	__u32 high;
};

/* The search for a free tuple: one port of the reply runs through a range. */
struct nat_search {
	__u32 conn;
	__u32 dst; /* 1: of the connection's destination, else of its source */
	__u32 icmp;
	__u32 at;
	__u32 least;
	__u32 most;
	__u32 found;
};

/* What the options of a DHCP request say; the first of each counts. */
struct dhcp_scan {
	__u32 at;
	__u32 end;
	__u32 done;
	__u32 type; /* length << 8 | value */
	__u32 ipxe;
	__u32 wanted; /* network order; 0: none */
	__u32 seen;   /* of DHCP_WANTED */
};

/* What ovn_serve works with. */
struct serving {
	__u32 pc;	/* the OP_PUNT; 0: none */
	__u32 partial;	/* the frame's transport checksum is left to a device */
	__u32 left;	/* of a label */
	__u32 end;	/* of the name, its 0 included; 0: not found yet */
	__u32 kept;	/* others still need the frame that was */
	__u32 odd;	/* it is no name, or one to be compared otherwise */
	struct pkt was; /* the context before the frame was parsed again */
	struct dhcp_scan scan;
	struct ovn_name_key key;
	union {
		struct ovn_template reply;
		struct ovn_name name;
	};
};

/* The search for the best rule of a stage. */
struct best {
	__u32 stage;
	__u32 first; /* of its lines in ovn_tuples */
	__u32 found;
	__u32 prio;
	__u32 pc;
	__u32 flow;
	__u32 mask; /* the one whose sets are tried */
	__u32 over; /* a bound was hit: no answer can be trusted */
};

/* How far the look at IPv6's extension headers, or at a neighbour message's options, is.
 * Here, as the verifier remembers what is on the stack: each way through a header
 * would be another state of it. */
struct chain {
	__u32 at;
	__u32 end;
	__u32 next; /* what the next header is; of options: the message's type */
	__u32 n;    /* headers so far */
	__u32 frag; /* OVN_FRAG_* */
	__u32 frag_at;
	__u32 frag_len;
	__u32 frag_id;
	__u32 frag_next; /* what the fragment's header says is next */
	__u32 bad;
};

struct scratch {
	struct pkt cur;
	__u32 wire[WIRE_WORDS];	 /* words OW_HEADERS.. as the frame has them */
	__u32 owire[WIRE_WORDS]; /* the same before a reply took its place */
	__u32 wire_id;		 /* pkt.icmp_id as the frame has it, */
	__u32 owire_id;
	struct quoted wire_inner; /* and pkt.inner */
	struct memberships sets[OVN_SET_WORDS];
	struct frame stack[OVN_MAX_STACK];
	struct pkt saved[OVN_MAX_SAVED];
	struct deferred deferred[OVN_MAX_DEFERRED];
	__u32 fields[OVN_MAX_FIELDS]; /* OVN's push/pop stack */
	__u32 tun_vni;		      /* of a packet from a tunnel: its datapath, */
	__u32 tun_opt;		      /* and inport << 16 | outport */
	__u32 depth;		      /* in ovn_scratch */
	__u32 way;		      /* enum way: what is to be done first */
	__u32 n_stack;
	__u32 n_saved;
	__u32 n_deferred;
	__u32 n_fields;
	__u32 generation;
	__u32 injected;	  /* by the slow path: a redirect would not be carried out */
	__u32 trace;	  /* only tried: nothing leaves, nothing is written or counted */
	__u32 trace_len;  /* then: of the frame, as the agent says, */
	__u32 trace_pick; /* and what it wants a select to choose; 0: as it would */
	__u32 watched;	  /* what somebody wants to see: enum ovn_seen */
	__u32 in_ifindex; /* device of the VIF it came from, 0 from a tunnel */
	__u32 l3;	  /* offset of the network header from the inner Ethernet one */
	__u32 l4;	  /* of the transport header, 0 when there is none */
	__u32 l4_len;	  /* of transport header and payload in the frame that came */
	__u32 ip4_len;	  /* of an IPv4 header, otherwise 0 */
	__u32 csum;	  /* enum csum_state of the frame that came */
	__u32 frag;	  /* OVN_FRAG_* of the frame, when the word says it no more */
	__u32 frag_at;	  /* offset of a fragment in what was fragmented, */
	__u32 frag_len;	  /* and its length */
	__u32 frag_id;
	__u32 frag_proto; /* protocol, or IPv6's next header behind the fragment's */
	__u32 inner_l3;	  /* of the headers that an ICMP error quotes, */
	__u32 inner_l4;
	__u32 inner_len;  /* and how much is quoted from inner_l4 on */
	__u32 off;	  /* of the (inner) Ethernet header in the frame */
	__u32 wire_reply; /* pkt.reply of what the frame holds */
	__u32 orig_len;	  /* of the frame that the reply took the place of */
	__u32 orig_l4;
	__u32 orig_l4_len;
	__u32 reply_len;  /* ICMP message of a reply, and the sum of its quotation */
	__u32 reply_sum;  /* (of a reset: 1 when the device will sum) */
	__u32 reply_part; /* the device will sum the quoted transport part */
	__u32 reply_seq;
	__u32 reply_ack;
	__u32 outer;	   /* bytes of encapsulation in front of off */
	__u32 flow;	   /* of the rule found last, */
	__u32 prio;	   /* its priority */
	__u32 table;	   /* and the table that was looked up */
	__u32 remote_done; /* deferred sends that are finished */
	__s32 verdict;
	__u32 sets_over; /* the last look-up hit a bound of sets */
	__u32 stages;	 /* looked up, for measures */
	__u32 probes;
	union {
		struct ovn_key_s s;
		struct ovn_key_m m;
		struct ovn_key_l l;
		struct bpf_tunnel_key key;
		struct geneve_opt opt;
		struct ovn_learnt learnt;
		struct ovn_first first;
		struct ovn_punt punt;
		struct ovn_news news;
		struct ovn_event event;
		struct ovn_witness witness;
		__be32 words[OVN_SUM_BYTES / 4];
		__u8 bytes[OVN_SUM_BYTES + 4];
	} buf;
	__u8 orig[OVN_ORIG_BYTES];
	__u8 zeros[OVN_SUM_BYTES]; /* nobody writes here */
	struct ct_work ct;
	struct ct_victim victim;
	struct nat_search nat;
	struct best best;
	struct chain chain;
	struct ovn_set_key member; /* that is looked up in ovn_set_idx */
	struct serving serve;
};

/* Per-packet working memory, by nesting depth. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OVN_MAX_DEPTH);
	__type(key, __u32);
	__type(value, struct scratch);
} ovn_scratch SEC(".maps");

/* How many programs are nested on this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} ovn_depth SEC(".maps");

static __always_inline struct scratch *scratch_at(__u32 depth)
{
	return array_at(&ovn_scratch, depth);
}

/* The same memory as a look-up gives it, for functions that got it as an argument: on
 * 6.1 a key or a value of a map cannot lie in an argument's memory. */
static __always_inline struct scratch *own(const struct scratch *s)
{
	return s ? scratch_at(s->depth) : NULL;
}

static __always_inline void push(struct scratch *s, __u16 kind, __u16 table, __u32 pc, __u32 i,
				 __u32 left)
{
	/* Room is checked by step() before any work that pushes. */
	struct frame *f = &s->stack[s->n_stack & (OVN_MAX_STACK - 1)];

	f->kind = kind;
	f->table = table;
	f->pc = pc;
	f->i = i;
	f->left = left;
	s->n_stack++;
}

/* Does other work wait for the frame in hand? */
static __always_inline int others_need(const struct scratch *s)
{
	return s->n_stack || s->remote_done < s->n_deferred;
}

/* Is the frame in hand needed by nobody after this output? */
static __always_inline int last_use(const struct scratch *s)
{
	return !others_need(s) && !s->injected;
}

/* Not inlined: it is long, and in many places. */
static __noinline void copy_pkt(struct pkt *to, const struct pkt *from)
{
	__builtin_memcpy(to, from, sizeof(*to));
}

static __always_inline int ctx_save(struct scratch *s)
{
	__u32 i = s->n_saved;

	if (i >= OVN_MAX_SAVED)
		return -1;
	copy_pkt(&s->saved[i], &s->cur);
	s->n_saved = i + 1;
	return i;
}

static __always_inline void ctx_load(struct scratch *s, __u32 i)
{
	copy_pkt(&s->cur, &s->saved[i & (OVN_MAX_SAVED - 1)]);
}

#endif
