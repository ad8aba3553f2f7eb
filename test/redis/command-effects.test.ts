import { describe, expect, it } from '@jest/globals';

import { blockingMs, effectOf } from '../../lib/redis/command-effects.js';

describe('what a Redis command does to its connection', () => {
  it.each([
    ['get', ['key'], 'ordinary'],
    ['FT.SEARCH', ['index', '*'], 'ordinary'],
    ['eval', ['return 1', 0], 'ordinary'],
    ['BLPOP', ['queue', 0], 'blocking'],
    ['bLmOvE', ['a', 'b', 'LEFT', 'RIGHT', 0], 'blocking'],
    ['wait', [1, 100], 'blocking'],
    ['xread', ['STREAMS', 'block', '0'], 'ordinary'],
    ['xread', ['COUNT', 1, 'STREAMS', 'a', '0'], 'ordinary'],
    ['xread', ['COUNT', 1, 'BLOCK', 0, 'STREAMS', 'a', '$'], 'blocking'],
    [
      'xread',
      [
        ['block', 5],
        ['STREAMS', 'a', '$'],
      ],
      'blocking',
    ],
    ['xread', [Buffer.from('Block'), '5', 'STREAMS', 'a', '$'], 'blocking'],
    ['xreadgroup', ['GROUP', 'block', 'c', 'STREAMS', 'a', '>'], 'ordinary'],
    ['xreadgroup', ['GROUP', 'g', 'c', 'NOACK', 'BLOCK', 0, 'STREAMS', 'a', '>'], 'blocking'],
    ['watch', ['key'], 'watch'],
    ['multi', [], 'multi'],
    ['exec', [], 'end of transaction'],
    ['discard', [], 'end of transaction'],
    ['select', [1], 'select'],
    ['subscribe', ['news'], 'subscribe'],
    ['client', ['LIST'], 'ordinary'],
    ['client', ['kill', 'ID', 7], 'ordinary'],
    ['client', ['REPLY', 'OFF'], 'lasting'],
    ['client', ['setname', 'me'], 'lasting'],
    ['client', ['SOMETHING-NEW'], 'lasting'],
    ['script', ['LOAD', 'return 1'], 'ordinary'],
    ['script', ['DEBUG', 'YES'], 'lasting'],
    ['auth', ['secret'], 'lasting'],
    ['monitor', [], 'lasting'],
    ['QUIT', [], 'ending'],
    ['shutdown', [], 'ending'],
  ])('%s %j is %s', (name, args, effect) => {
    expect(effectOf(name, args)).toBe(effect);
  });

  it.each([
    ['blpop', ['a', 'b', 1.5], 1_500],
    ['BRPOP', ['a', '0'], Infinity],
    ['blmpop', [2, 1, 'a', 'LEFT'], 2_000],
    ['blmove', ['a', 'b', 'LEFT', 'LEFT', Buffer.from('3')], 3_000],
    ['wait', [1, 250], 250],
    ['xread', ['BLOCK', 40, 'STREAMS', 'a', '$'], 40],
    ['xreadgroup', ['GROUP', 'g', 'c', 'BLOCK', 0, 'STREAMS', 'a', '>'], Infinity],
    ['xread', ['STREAMS', 'a', '0'], 0],
    ['get', ['a'], 0],
  ])('%s %j waits for %d ms', (name, args, expectedMs) => {
    expect(blockingMs(name, args)).toBe(expectedMs);
  });
});
