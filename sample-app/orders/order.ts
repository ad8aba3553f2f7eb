/**
 * An order, and what a client may send to make one.
 */
import { BadRequestException } from '@nestjs/common';

export interface Order {
  /** PostgreSQL's bigint comes as text: it may be larger than a JavaScript number can be. */
  readonly id: string;
  readonly item: string;
  readonly quantity: number;
  /** Number of the invoice; null while billing has not answered. */
  readonly invoice: string | null;
  /** As PostgreSQL writes it: the same text whether it comes from the database or from the cache. */
  readonly created_at: string;
}

export interface NewOrder {
  readonly item: string;
  readonly quantity: number;
}

const LONGEST_ITEM = 200;
const LARGEST_QUANTITY = 10_000;
/** Every number of so many digits fits in a bigint. */
const ID = /^\d{1,18}$/;

/** @throws BadRequestException when it can't be the id of an order. */
export function parseOrderId(text: string): string {
  if (!ID.test(text)) throw new BadRequestException('the id of an order is a whole number');
  return text;
}

/** @throws BadRequestException naming everything that is wrong with the body. */
export function parseNewOrder(body: unknown): NewOrder {
  const { item, quantity = 1 } = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const problems: string[] = [];
  const isItem = typeof item === 'string' && item.trim() !== '' && item.length <= LONGEST_ITEM;
  const isQuantity =
    typeof quantity === 'number' && Number.isInteger(quantity) && quantity > 0 && quantity <= LARGEST_QUANTITY;
  if (!isItem) problems.push(`item must be a text of 1 to ${LONGEST_ITEM} characters`);
  if (!isQuantity) problems.push(`quantity must be a whole number from 1 to ${LARGEST_QUANTITY}`);
  if (!isItem || !isQuantity) throw new BadRequestException(problems);
  return { item: item.trim(), quantity };
}
