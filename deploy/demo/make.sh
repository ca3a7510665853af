#!/bin/sh
# Makes demo.mp4: eight seconds that loop without a seam.
#
# 240 pictures at 30 a second, each a fragment, a key frame every two seconds, no B-frames; the picture's number in 16 cells at
# the top (bit 0 left, white is 1); a white square and a beep once a second. 375 frames of AAC are eight
# seconds exactly. One thread, so that the same ffmpeg makes the same file.
set -eu
cd "$(dirname "$0")"

cells=""
for bit in $(seq 0 15); do
  cells="$cells,drawbox=x=$((bit * 32)):y=0:w=32:h=32:color=white:t=fill:enable='mod(floor(n/pow(2\,$bit))\,2)'"
done
video="testsrc2=size=640x360:rate=30,drawbox=x=0:y=0:w=iw:h=32:color=black:t=fill$cells"
video="$video,drawbox=x=560:y=280:w=64:h=64:color=white:t=fill:enable='lt(mod(t\,1)\,0.1)'"

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
encode() { ffmpeg -hide_banner -loglevel error -nostdin -y -fflags +bitexact "$@"; }

encode -f lavfi -i "$video" -frames:v 240 -c:v libx264 -preset slow -threads 1 -b:v 1200k -maxrate 1500k \
  -bufsize 1500k -g 60 -keyint_min 60 -sc_threshold 0 -bf 0 -pix_fmt yuv420p -flags +bitexact "$work/video.mp4"
encode -f lavfi -i "sine=frequency=440:beep_factor=2:sample_rate=48000" -frames:a 375 -c:a aac -b:a 96k -ac 2 \
  -flags +bitexact -use_editlist 0 "$work/audio.mp4"
encode -i "$work/video.mp4" -i "$work/audio.mp4" -map 0:v -map 1:a -c copy -bitexact \
  -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 demo.mp4
