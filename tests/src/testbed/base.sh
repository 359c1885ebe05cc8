#!/bin/sh
# Turns a fresh debootstrap tree into the base of all hosts. Runs in the tree, as root, with the controller's own
# settings (apt, pip, certificates) already in place.
set -eu
export DEBIAN_FRONTEND=noninteractive

update-ca-certificates >/dev/null

# A person with sudo, and root without a login. The key comes with each host.
useradd --create-home --shell /bin/bash --groups sudo admin
usermod --password '*' admin
usermod --password '*' root
printf 'admin ALL=(ALL:ALL) NOPASSWD:ALL\n' > /etc/sudoers.d/admin
chmod 0440 /etc/sudoers.d/admin
install -d -m 0700 -o admin -g admin /home/admin/.ssh
# sudo leaves this at its first use; here it stands from the start, so that a login changes nothing.
install -m 0644 -o admin -g admin /dev/null /home/admin/.sudo_as_admin_successful

# As an installed Debian has it; else every login complains in the journal.
echo 'LANG=C.UTF-8' > /etc/default/locale

# Host keys and the machine id belong to each host.
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id

systemctl enable systemd-networkd.service >/dev/null 2>&1
# Timers that take the apt lock or write backups at random, and a wait for a network that is up anyway.
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    systemd-networkd-wait-online.service >/dev/null 2>&1

rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /var/log/*.log /var/log/apt/*
# Nothing in /etc or /var is older than /usr, so a first boot has nothing to bring up to date.
touch /etc/.updated /var/.updated
