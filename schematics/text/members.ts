/**
 * New members of lists and object literals, in code and in JSON.
 *
 * A list on one line is written one member a line, which is how formatters leave it once one of its members has several
 * lines. Comments stay with what they stand beside.
 */
import type ts from 'typescript';

import type { CodeFile, Edit } from './code-file.js';
import type { CodeStyle } from './code-style.js';

export type MemberList = ts.ArrayLiteralExpression | ts.ObjectLiteralExpression;

/**
 * Adds a member.
 *
 * @param text the member, its further lines indented as if the first began a line.
 * @param index before which member; at the end without it.
 */
export function addMember(file: CodeFile, list: MemberList, text: string, style: CodeStyle, index?: number): void {
  const members: readonly ts.Node[] = 'elements' in list ? list.elements : list.properties;
  const indent = file.indentAt(list.getStart(file.syntax)) + style.indent;
  const own = indented(text, indent);
  const source = list.getText(file.syntax);
  if (!source.includes('\n') && !/\/[/*]/.test(source)) {
    const all = members.map((member) => indent + member.getText(file.syntax));
    all.splice(index ?? all.length, 0, own);
    const outer = file.indentAt(list.getStart(file.syntax));
    const [open, close] = 'elements' in list ? ['[', ']'] : ['{', '}'];
    const comma = file.path.endsWith('.json') ? '' : style.trailingComma;
    const lines = `${open}\n${all.join(',\n')}${comma}\n${outer}${close}`;
    file.apply({ start: list.getStart(file.syntax), end: list.end, text: lines });
    return;
  }
  const before = index === undefined ? members.at(-1) : members[index - 1];
  if (before === undefined) {
    const start = list.getStart(file.syntax) + 1;
    file.apply({ start, end: start, text: `\n${own}${members.length > 0 ? ',' : ''}` });
    return;
  }
  const comma = commaAfter(file, before.end, list.end);
  const start = endOfLine(file, comma ?? before.end, list.end - 1);
  // Beside a comment the comma goes before it.
  const missing = comma === undefined ? ',' : '';
  const trailing = comma === undefined ? '' : ',';
  if (start === before.end) file.apply({ start, end: start, text: `${missing}\n${own}${trailing}` });
  else {
    file.apply(
      { start, end: start, text: `\n${own}${trailing}` },
      { start: before.end, end: before.end, text: missing },
    );
  }
}

/**
 * The change that removes a member from a list: with its comma and, where it has them to itself, its lines. Names that
 * are left, and fit on one line, are written on one, as formatters do.
 */
export function withoutMember(file: CodeFile, list: MemberList, member: ts.Node, { width }: CodeStyle): Edit {
  const { text, syntax, compiler } = file;
  const members: readonly ts.Node[] = 'elements' in list ? list.elements : list.properties;
  const [inside, outside] = [list.getStart(syntax) + 1, list.end - 1];
  const others = members.filter((other) => other !== member);
  const hasComment = /\/[/*]/.test(text.slice(inside, outside).replace(member.getText(syntax), ''));
  if ('elements' in list && !hasComment && others.every((other) => compiler.isIdentifier(other))) {
    const names = others.map((other) => other.getText(syntax)).join(', ');
    const before = inside - (text.lastIndexOf('\n', inside) + 1);
    if (before + names.length + '],'.length <= width) return { start: inside, end: outside, text: names };
  }
  const comma = commaAfter(file, member.end, list.end);
  let start = member.getStart(syntax);
  let end = comma ?? member.end;
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  const rest = /^[ \t]*\r?\n/.exec(text.slice(end));
  if (text.slice(lineStart, start).trim() === '' && rest !== null) {
    return { start: lineStart, end: end + rest[0].length, text: '' };
  }
  const position = members.indexOf(member);
  const previous = members[position - 1];
  // The last of several on one line takes the comma before it along.
  if (position === members.length - 1 && previous !== undefined) start = previous.end;
  else end += /^[ \t]*/.exec(text.slice(end))?.[0].length ?? 0;
  return { start, end, text: '' };
}

/** @returns where the comma after a member ends; undefined where there is none. */
function commaAfter(file: CodeFile, from: number, to: number): number | undefined {
  const between = file.text.slice(from, to);
  const match = /^(?:\s|\/\*[\s\S]*?\*\/|\/\/[^\n]*\n)*,/.exec(between);
  return match === null ? undefined : from + match[0].length;
}

/** Past a comment that stands beside what ends at `from`. */
function endOfLine(file: CodeFile, from: number, to: number): number {
  const comment = /^[ \t]*(?:\/\/[^\r\n]*|\/\*[^\r\n]*?\*\/)(?=[ \t]*(?:\r?\n|$))/.exec(file.text.slice(from, to));
  return from + (comment?.[0].length ?? 0);
}

/** Every line of a text, further in. */
export function indented(text: string, indent: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '' : indent + line))
    .join('\n');
}
