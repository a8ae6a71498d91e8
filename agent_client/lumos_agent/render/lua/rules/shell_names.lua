-- Names of programs, by how they read in a sentence. A program that is no English word is a sign by itself; one that is
-- (time, find, who) needs arguments of a command's shape.
local names = {}

local function set(text)
  local result = {}
  for word in string.gmatch(text, "%S+") do result[word] = true end
  return result
end

names.plain = set([[
apt aptitude apt-get arp arping ash awk base32 base64 bash batcat bcdboot bcdedit bitsadmin bridge brew bunzip2
busybox bzcat
bzip2 c89 c99 cacls certutil cgrep chattr chef-run chgrp chmod choom chown chroot chsh cmd cmdkey composer cp cpan
cpulimit
crontab cscli cscript csh csvtool curl curlie dash dd df dhclient diskpart dmesg dmidecode docker dpkg dsquery du
easy_install
egrep ehlo fgrep findstr fish forfiles fping ftp gawk gcc gdb getent gimp git grep gtester gunzip gzip hexdump hping3
htdigest hydra icacls ifconfig installutil iostat ip6tables ipconfig iptables ipython irb jjs jrunscript kextload
killall
ksh kubectl lastlog lastlogin lastcomm ld.so ldconfig less.exe ln ls lsattr lsb_release lsmod lsof lua luajit
lwp-download
lwp-request lynx lz4 lzcat lzma masscan mawk md5sum mkdir mkfifo mknod mlocate modprobe mongosh mount msbuild mshta
msiexec
msxsl mtr mv mysql mysqladmin mysqldump nano nawk nc ncat netcat netsh netstat nft nltest nmap nohup npm npx nping nproc
nroff nsenter nslookup ntpdate openssl osascript passwd pdb perf perl perlsh pftp pgrep php php-cgi php5 php7 pico pip
pipx
pkexec pkg pkill pkginfo powershell printenv psexec psftp psql ptx putty pwd pwsh python qwinsta rbash rcp readelf
redcarpet
reg.exe regedit regsvr32 rlogin rlwrap rm rmdir rmt rmuser rnano robocopy rpm rsync rundll32 rview rvim schtasks scp
scriptrunner sed setarch setenv sftp sh sha1sum sha256sum shuf smbclient socat sqlcmd sqlite3 ssh sshpass
start-stop-daemon
stdbuf strace sudo sysctl systemctl systeminfo tar taskkill tasklist taskset tasksh tclsh tcpdump tcptraceroute tcsh
telnet tftp tmux torify tracepath tracert traceroute traceroute6 tshark tsocks ufw uname unattended-upgrade unlzma
unshare
unxz unzip unzstd useradd userdel usermod uuencode vigr vim vimdiff vipw visudo vssadmin wc wevtutil wget whoami whois
wish
wmic wscript xargs xcopy xelatex xmodmap xxd xz xzcat yarn yum zcat zgrep zip zless zsh zsoelim zstd zypper dnf emacs
mkpasswd
groupadd groupdel ansible ansible-config ansible-playbook ansible-pull ansible-galaxy ansible-inventory ansible-vault
flock sysinfo
chef-vault chef-client ssh-copy-id ssh-keygen rmt-tar rmt-dump zstdcat aa-disable aa-enforce adduser deluser setfacl
getfacl insmod rmmod hostnamectl journalctl loginctl timedatectl update-alternatives
]])

names.english = set([[
alias apropos arch assoc at attrib basename batch bg bind bundle bzless c call cancel cat cc cd check_by_ssh
check_cups cls
column comm command copy crash cut date del dialog diff dig dir dirname dos2unix echo ed env erase eval ex exec exit
expand
expect export expr facter false fc fg file find finger fold for free ftype function gem ghc ghci go groups halt hash
head help
history host hostname iconv id if init install ionice ip java jobs join jq kill klist last latex ld less let link
locate logname
logoff logsave look lp lpr m4 mail mailx make man md mkisofs more mosquitto move mutt net nice nl nm node od open paste
patch path pathping pax pause perl6 pic ping ping6 pinky popd pr print printf ps pushd python2 r rake rc rd read
reboot red
reg regexp rem ren rename rename replace reset restic rev rpcinfo ruby run-parts runas sar sc screen script select
service set
shift shutdown sleep snap sort source split ss start stat strings su sum swapoff sync tac tail task tbl tee test time
timeout
title tmate top touch tr trap tree troff true type ul ulimit umount unalias uniq unset units until up2date users ver
verify
vi view vol w wait wall watch whereis which while who write xdotool xpad xterm yes
]])

-- What a command's first word may only introduce.
names.prefixes = set([[
sudo nohup exec command busybox env time nice xargs builtin eval setsid doas stdbuf do then else !
]])

-- The second word that makes an English word an administrator's command.
names.seconds = {
  net = set("user users view use share start stop localgroup group accounts session config time"),
  reg = set("add query delete export save import"),
  set = set("/a /p"), sc = set("create query config stop start delete"), ip = set("addr address link route neigh a"),
  service = set("--status-all"), ping = set("localhost"), apt = set("install update list"), echo = set("off on"),
}

-- Interpreters and transfers: given a file or address they carry an attack by themselves.
names.loud = set([[
bash sh zsh ksh csh tcsh dash nc ncat netcat socat telnet curl wget perl python ruby php powershell pwsh cmd certutil
bitsadmin mshta regsvr32 rundll32 wmic cscript wscript nslookup tftp whoami ifconfig ipconfig uname netstat systeminfo
]])

-- Verbs and nouns of PowerShell's Verb-Noun commands.
names.verbs = set([[
add clear compress convertto copy disable enable expand export find format get import install invoke move new out read
register remove rename resolve restart save select send set start stop test unblock uninstall wait write
]])
names.nouns = set([[
acl aduser alias archive bitstransfer childitem ciminstance clipboard command computer content credential
dnsname eventlog executionpolicy expression file history hotfix item itemproperty job localuser location
module mppreference object path process psdrive pssession random restmethod scheduledtask securestring service string
type variable webrequest winevent wmimethod wmiobject host output
]])

-- First folders of a Unix system: a wildcard that stands for one of them hides a path.
names.folders = { "bin", "etc", "usr", "dev", "proc", "sbin", "home", "root", "tmp", "var" }

return names
