import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const nothing = fileURLToPath(new URL("./src/players/moq/no_polyfill.ts", import.meta.url));

export default defineConfig({
	// An edge serves what is built at this address, and the page itself at /e/EVENT.
	base: "/assets/",
	resolve: {
		alias: {
			// Software decoders for browsers without WebCodecs audio. Those watch by HLS.
			"@kixelated/libavjs-webcodecs-polyfill": nothing,
			"@libav.js/variant-opus-af": nothing,
		},
	},
	build: {
		assetsDir: "",
		target: "es2022",
		modulePreload: { polyfill: false },
		// hls.js alone is 600 kB; it is loaded only where it is needed.
		chunkSizeWarningLimit: 700,
	},
});
