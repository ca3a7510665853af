/** The settings menu: groups of choices, of each of which one is taken. */

import type { Choice } from "../players/player";

/** One group of choices. */
export interface Group {
	name: string;
	choices: Choice[];
	chosen: string;
	choose(id: string): void;
}

/** Fills `root` with `groups`, as native radio buttons: keyboards and screen readers know them. */
export function fillMenu(root: HTMLElement, groups: Group[]): void {
	root.replaceChildren(
		...groups.map((group) => {
			const field = document.createElement("fieldset");
			const legend = document.createElement("legend");
			legend.textContent = group.name;
			field.append(legend, ...group.choices.map((choice) => option(group, choice)));
			return field;
		}),
	);
}

function option(group: Group, choice: Choice): HTMLElement {
	const label = document.createElement("label");
	const input = document.createElement("input");
	input.type = "radio";
	input.name = group.name;
	input.checked = choice.id === group.chosen;
	input.addEventListener("change", () => group.choose(choice.id));
	const text = document.createElement("span");
	text.textContent = choice.label;
	label.append(input, text);
	return label;
}
