#!/bin/sh
# Unpacks a Debian or Ubuntu with systemd into FOLDER/root, and builds there, with its own Python, the wheels that the
# project's installation wants, into FOLDER/wheels. As root, with a network; minutes, most of them llama.cpp's.
#
#   tests/machine/unpack.sh RELEASE FOLDER PYTHON
#
# RELEASE: bookworm, trixie …; jammy (what JetPack 6 is made of) or noble (JetPack 7). PYTHON reads pyproject.toml.
set -eu

release=$1
folder=$2
python=$3
debian=http://deb.debian.org/debian
ubuntu=http://archive.ubuntu.com/ubuntu
# The key that Ubuntu signs its archive with since 2018, and a package that brings it.
ubuntu_key=F6ECB3762474EDA9D21B7022871920D1991BC93C
ubuntu_keyring=pool/main/u/ubuntu-keyring/ubuntu-keyring_2021.03.26_all.deb
wanted=systemd,systemd-sysv,dbus,udev,python3-venv,python3-dev,build-essential

stop() {
    echo "no $release can be unpacked: $1" >&2
    exit 1
}

# What pip downloads is only believed with the certificates that this machine believes.
inside() {
    systemd-nspawn --quiet --register=no --keep-unit --pipe --directory="$folder/root" --timezone=off \
        --resolv-conf=replace-host \
        --bind="$folder/wheels:/wheels" --bind-ro="${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}:/certificates.pem" \
        --setenv=PIP_CERT=/certificates.pem ${PIP_INDEX_URL:+"--setenv=PIP_INDEX_URL=$PIP_INDEX_URL"} "$@"
}

rm -rf "$folder"
mkdir -p "$folder/wheels"
case $release in
jammy | noble)
    keyring=$folder/keyring.gpg
    curl --fail --silent --show-error --output "$folder/keyring.deb" "$ubuntu/$ubuntu_keyring" || stop "no keyring"
    dpkg-deb --extract "$folder/keyring.deb" "$folder/keyring"
    gpg --quiet --no-default-keyring --keyring "$folder/keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg" \
        --export "$ubuntu_key" >"$keyring"
    [ -s "$keyring" ] || stop "$ubuntu_keyring does not hold the key $ubuntu_key"
    # Which of debootstrap's recipes: older ones do not know noble, and it is the same for every Ubuntu since gutsy.
    set -- --keyring="$keyring" --components=main,universe "--include=$wanted" "$release" "$folder/root" "$ubuntu" gutsy
    ;;
*)
    set -- "--include=$wanted" "$release" "$folder/root" "$debian"
    ;;
esac
echo "unpacking $release"
debootstrap --variant=minbase "$@" >"$folder/debootstrap.log" 2>&1 || stop "see $folder/debootstrap.log"

"$python" - <<'END_OF_PYTHON' >"$folder/wheels/requirements.txt"
try:
    import tomllib
except ImportError:
    import tomli as tomllib
with open("pyproject.toml", "rb") as file:
    said = tomllib.load(file)
extras = said["project"]["optional-dependencies"]
print("pip", "setuptools", "wheel", "cmake", "ninja", sep="\n")
print(*said["build-system"]["requires"], *said["project"]["dependencies"], *extras["record"], *extras["sign"], sep="\n")
END_OF_PYTHON
echo "building wheels with its $(inside python3 --version)"
inside sh -ec '
    python3 -m venv /var/tmp/builder
    /var/tmp/builder/bin/pip install --quiet --upgrade pip
    /var/tmp/builder/bin/pip wheel --quiet --no-cache-dir --wheel-dir /wheels --requirement /wheels/requirements.txt
    rm -r /var/tmp/builder
' || stop "the wheels could not be built"
touch "$folder/complete"
