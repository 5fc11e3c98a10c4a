"""Takes packets out of IPv4-in-IPv4, as a server with the kernel's ipip device would: not every kernel has it. Prints each sender once."""
import fcntl
import os
import socket
import struct
import subprocess

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # <linux/if_tun.h>

device = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"unwrapped", IFF_TUN | IFF_NO_PI))
subprocess.run(["ip", "link", "set", "unwrapped", "up"], check=True)
wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP)
print("ready", flush=True)
senders = set()
while True:
    packet, (sender, _) = wire.recvfrom(65535)
    if sender not in senders:
        senders.add(sender)
        print(sender, flush=True)
    os.write(device, packet[(packet[0] & 15) * 4:])
