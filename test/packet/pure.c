/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The arithmetic of bpf/lib/pure/, compiled for this machine: says on stderr what is wrong, ends with 0 when nothing is. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/pure/checksum.h"
#include "lib/pure/clock.h"
#include "lib/pure/hash.h"
#include "lib/pure/lbhash.h"
#include "lib/pure/letters.h"
#include "lib/pure/ports.h"

static int failures;

#define CHECK(what, ...)                                                                                                           \
	do {                                                                                                                       \
		if (!(what)) {                                                                                                     \
			failures++;                                                                                                \
			fprintf(stderr, "%s: ", #what);                                                                            \
			fprintf(stderr, __VA_ARGS__);                                                                              \
			fputc('\n', stderr);                                                                                       \
		}                                                                                                                  \
	} while (0)

/* RFC 1071, the plain way. */
static __u16 plain(const __u16 *words, int count)
{
	__u32 sum = 0;
	int i;

	for (i = 0; i < count; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* 0x0000 and 0xffff are the same number. */
static int same(__u16 a, __u16 b)
{
	return (a == 0 ? 0xffff : a) == (b == 0 ? 0xffff : b);
}

static void checksums(void)
{
	__u16 words[10];
	int round, i;

	for (round = 0; round < 200000; round++) {
		__u64 difference = 0;
		__u16 before, after, old16, new16;
		__u32 old32, new32;

		for (i = 0; i < 10; i++)
			words[i] = round % 7 ? (__u16)rand() : rand() % 2 ? 0xffff : 0;
		before = plain(words, 10);
		old32 = (__u32)words[3] << 16 | words[2];
		new32 = (__u32)rand();
		old16 = words[7];
		new16 = round % 5 ? (__u16)rand() : 0;
		difference = checksum_replace32(difference, old32, new32);
		difference = checksum_replace16(difference, old16, new16);
		words[2] = (__u16)new32;
		words[3] = (__u16)(new32 >> 16);
		words[7] = new16;
		after = checksum_apply(before, difference);
		CHECK(same(after, plain(words, 10)), "%04x, not %04x", after, plain(words, 10));
	}
}

static void ports(__u16 low, __u16 high)
{
	static unsigned char seen[65536];
	__u32 available = ports_available(low, high), i, taken = 0;

	for (i = 0; i < 65536; i++)
		seen[i] = 0;
	for (i = 0; i < available; i++) {
		__u16 port = ports_pick(i, low, high);

		CHECK(port >= 1024 && (port < low || port > high), "port %u of the range %u…%u", port, low, high);
		taken += !seen[port];
		seen[port] = 1;
	}
	CHECK(taken == available, "%u different ports of %u, range %u…%u", taken, available, low, high);
	CHECK(ports_pick(available, low, high) == ports_pick(0, low, high), "range %u…%u", low, high);
}

/* Each byte in each place, between neighbours that could carry into it. */
static void letters(void)
{
	static const __u32 between[] = { 0, 0xffffffff, 0x5a5a5a5a, 0x41414141, 0x7f7f7f7f, 0x80808080 };
	__u32 byte, place, i;

	for (byte = 0; byte < 256; byte++) {
		for (place = 0; place < 32; place += 8) {
			for (i = 0; i < sizeof(between) / sizeof(between[0]); i++) {
				__u32 word = (between[i] & ~(0xffu << place)) | byte << place;
				__u32 small = letters_small(word) >> place & 0xff, wanted = byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;

				CHECK(small == wanted, "byte %u at bit %u of %08x becomes %u", byte, place, word, small);
			}
		}
	}
}

/* Both ways to hash an address agree, and a table of twice as many slots has each flow in one of the two that were its one. */
static void slots(void)
{
	static unsigned int seen[16];
	__u32 round, i;

	for (round = 0; round < 160000; round++) {
		__u32 words[4] = { 0, 0, 0xffff0000, (__u32)rand() << 16 ^ (__u32)rand() };
		__u64 hash = round % 2 ? lbhash_flow4(words[3], round) : lbhash_flow6(words[3], (__u64)round << 32, 0x50001389);
		__u32 slot = lbhash_slot(hash, 65537);

		CHECK(lbhash_address(words) == lbhash_address4(words[2], words[3]), "%08x", words[3]);
		CHECK(slot < 65537 && lbhash_slot(hash, 2 * 65537) / 2 == slot, "slot %u", slot);
		seen[lbhash_slot(hash, 16)]++;
	}
	for (i = 0; i < 16; i++)
		CHECK(seen[i] > 9500 && seen[i] < 10500, "%u flows in slot %u", seen[i], i);
}

int main(void)
{
	checksums();
	slots();
	letters();
	ports(32768, 60999);
	ports(1024, 1024);
	ports(65535, 65535);
	ports(1024, 65534);
	ports(1, 2000);
	ports(10, 20);
	ports(5000, 4000);
	CHECK(ports_available(1024, 65535) == 0 && ports_pick(7, 1024, 65535) == 0, "a full range leaves nothing");

	CHECK(!clock_expired(100, 99) && clock_expired(100, 100) && clock_expired(100, 101), "around now");
	CHECK(!clock_expired(5, 0xfffffff0) && clock_expired(0xfffffff0, 5), "around the wrap");
	CHECK(!clock_dead(100, 99, 50) && clock_dead(100, 100, 50) && clock_dead(100, 101, 50) && clock_dead(100, 100 + 0x80000001u, 50),
	      "dead at its time, and still when the clock is half round");
	CHECK(!clock_dead(5, 0xfffffff0, 50) && clock_dead(0xfffffff0, 5, 50), "around the wrap");
	CHECK(clock_epoch(255) == clock_epoch(0) && clock_epoch(256) == clock_epoch(0) + 1, "an epoch is 256 jiffies");
	CHECK(hash_finish(hash_mix(1, 2)) != hash_finish(hash_mix(2, 1)), "the hash tells order");
	return failures != 0;
}
