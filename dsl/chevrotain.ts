/**
 * @file Chevrotain from the one file in which it is published besides its modules. These import six hundred of lodash,
 * and to load them took longer than everything else that a small command does.
 */
type Chevrotain = typeof import("chevrotain");

const chevrotain = await import(new URL("../chevrotain.mjs", import.meta.resolve("chevrotain")).href) as Chevrotain;

export const {
  createToken, EmbeddedActionsParser, EOF, isRecognitionException, Lexer, MismatchedTokenException, tokenMatcher,
}: Chevrotain = chevrotain;
