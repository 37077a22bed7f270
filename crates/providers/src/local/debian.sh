#!/bin/sh
# Makes a bootable Debian image, as root or as an ordinary user:
#   debian.sh SUITE PACKAGES [SOURCE…]
# writes rootfs.ext4, vmlinuz and initrd.img into the current directory. SOURCE: apt sources for mmdebstrap.
set -eu

# Runs before the kernel is installed, which then makes an initrd with only what a box on virtio disks needs.
prepare() { # ROOT
    root=$1
    mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/usr/share/initramfs-tools/modules.d"
    printf '%s\n' MODULES=list COMPRESS=gzip FSTYPE=ext4 RESUME=none >"$root/etc/initramfs-tools/conf.d/twolane"
    printf '%s\n' virtio_pci virtio_blk ext4 crc32c_generic >"$root/usr/share/initramfs-tools/modules.d/twolane"
    # mkinitramfs reads that file as shell. An emulated CPU unpacks slowly, so nothing is packed.
    echo 'gzip() { cat; }' >>"$root/etc/initramfs-tools/conf.d/twolane"
}

configure() { # ROOT
    root=$1

    cat >"$root/etc/fstab" <<-'CONF'
		/dev/vda / ext4 defaults,noatime 0 0
	CONF

    # QEMU's user network is the same everywhere, so nobody has to ask for an address.
    cat >"$root/etc/systemd/network/10-qemu.network" <<-'CONF'
		[Match]
		Name=en* eth*
		[Network]
		Address=10.0.2.15/24
		Gateway=10.0.2.2
		DNS=10.0.2.3
		LinkLocalAddressing=no
		IPv6AcceptRA=no
	CONF
    echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
    chroot "$root" systemctl enable systemd-networkd.service

    # Modules that find nothing to do here still cost seconds on an emulated CPU.
    cat >"$root/etc/cloud/cloud.cfg.d/90_twolane.cfg" <<-'CONF'
		datasource_list: [NoCloud]
		network: {config: disabled}
		apt: {preserve_sources_list: true}
		locale: false
		cloud_init_modules: [bootcmd, write-files, resizefs, disk_setup, mounts, set_hostname, update_hostname, update_etc_hosts, ca-certs, users-groups, ssh]
		cloud_config_modules: [set-passwords, ntp, timezone, apt-configure, runcmd]
		cloud_final_modules: [package-update-upgrade-install, write-files-deferred, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message, power-state-change]
	CONF
    echo 'LANG=C.UTF-8' >"$root/etc/default/locale"

    # The operator's toolchain comes as a disk of its own; the kernel's command line says when.
    cat >"$root/etc/systemd/system/twolane-toolchain.service" <<-'CONF'
		[Unit]
		DefaultDependencies=no
		ConditionKernelCommandLine=twolane.toolchain
		After=systemd-remount-fs.service
		Before=local-fs.target
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=mount -t ext4 -o ro,noatime /dev/vdc /opt/twolane/toolchain
		[Install]
		WantedBy=local-fs.target
	CONF
    mkdir -p "$root/opt/twolane/toolchain"
    chroot "$root" systemctl enable twolane-toolchain.service

    # What only costs time in a box that lives for an hour.
    chroot "$root" systemctl mask \
        apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer \
        systemd-pstore.service systemd-timesyncd.service systemd-binfmt.service modprobe@drm.service modprobe@dm_mod.service \
        sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount proc-sys-fs-binfmt_misc.automount getty@tty1.service serial-getty@ttyS0.service \
        systemd-networkd-wait-online.service

    chroot "$root" apt-get clean
    rm -rf "$root"/var/lib/apt/lists/* "$root"/etc/ssh/ssh_host_*
    : >"$root/etc/machine-id"
}

write() { # ROOT
    root=$1
    view=$root
    # A view of the root without what mmdebstrap has mounted in it (/proc, /sys, /dev).
    if [ -e "$root/proc/self" ]; then
        mount --bind "$root" "$root/mnt"
        # mmdebstrap deletes the root next: what it finds in there must not be the root again.
        trap 'umount "$root/mnt"' EXIT
        trap 'exit 1' HUP INT TERM
        view=$root/mnt
    fi
    mke2fs -q -F -t ext4 -O ^has_journal,^metadata_csum,^64bit,^resize_inode -i 32768 -m 0 \
        -E lazy_itable_init=0,nodiscard -L root -d "$view" /proc/self/fd/9
}

# mmdebstrap runs this file again as its hook, within the root's namespaces.
case ${1-} in
prepare | configure | write)
    "$@"
    exit
    ;;
esac

# Whoever started this is gone when the input ends: then everything here ends too, mmdebstrap in its orderly way.
# What came as output is kept open until then: it is a lock.
exec 3<&0 4>&1 </dev/null 1>&2
(
    read -r _ <&3 || :
    trap '' TERM
    kill -TERM -$$
    sleep 5
    kill -KILL -$$
) 2>/dev/null &
guard=$!
trap 'kill "$guard"' EXIT
exec 3<&- 4>&-

suite=$1 packages=$2
shift 2
PATH=$PATH:/usr/sbin:/sbin
rm -f rootfs.ext4
truncate -s 20G rootfs.ext4
# mmdebstrap may become another user, who cannot enter this directory: that one opens the file through descriptor 9.
chmod 666 rootfs.ext4
exec 9<>rootfs.ext4
THIS=$(cat "$0")
export THIS
# What root mounts is to be gone with the last process here, however that ends.
alone=
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then alone='unshare --mount'; fi
$alone mmdebstrap --variant=minbase --format=null --include="$packages" --aptopt='Acquire::Languages "none"' \
    --dpkgopt=force-unsafe-io \
    --essential-hook='set -- prepare "$1"; eval "$THIS"' \
    --customize-hook='set -- configure "$1"; eval "$THIS"' \
    --customize-hook='copy-out /boot .' \
    --customize-hook='set -- write "$1"; eval "$THIS"' \
    "$suite" /dev/null "$@"
chmod 600 rootfs.ext4
mv boot/vmlinuz-* vmlinuz
mv boot/initrd.img-* initrd.img
rm -r boot
