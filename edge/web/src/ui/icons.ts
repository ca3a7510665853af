/** Drawings of the controls, on a grid of 24, in the colour of the text. */

const PATHS = {
	play: '<path d="M8 5.5v13l10.5-6.5z" fill="currentColor"/>',
	pause: '<path d="M9 6v12M15 6v12" stroke-width="3"/>',
	sound: '<path d="M4 9.5v5h3.5L12 18V6L7.5 9.5z" fill="currentColor"/><path d="M15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11"/>',
	muted: '<path d="M4 9.5v5h3.5L12 18V6L7.5 9.5z" fill="currentColor"/><path d="m16 9.5 5 5m0-5-5 5"/>',
	captions: '<rect x="3.5" y="5.5" width="17" height="13" rx="2.5"/><path d="M10.5 10.6a2 2 0 1 0 0 2.8M17 10.6a2 2 0 1 0 0 2.8"/>',
	settings: '<path d="M4 8h9m5 0h2M4 16h2m5 0h9"/><circle cx="15.5" cy="8" r="2.3"/><circle cx="8.5" cy="16" r="2.3"/>',
	stats: '<path d="M4 19h16M6.5 15v-4m5.5 4V6m5.5 9V9"/>',
	pip: '<path d="M20 10V7.5A2 2 0 0 0 18 5.5H6a2 2 0 0 0-2 2v9a2 2 0 0 0 2 2h4"/><rect x="12.5" y="13" width="8" height="6" rx="1.2" fill="currentColor"/>',
	full: '<path d="M4.5 9.5v-4h4m7 0h4v4m0 5v4h-4m-7 0h-4v-4"/>',
	small: '<path d="M8.5 5v4h-4m15 0h-4V5m0 14v-4h4m-15 0h4v4"/>',
} as const;

/** The name of a drawing. */
export type Icon = keyof typeof PATHS;

/** The drawing as markup; it says nothing to a screen reader. */
export function icon(name: Icon): string {
	return `<svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">${PATHS[name]}</svg>`;
}
